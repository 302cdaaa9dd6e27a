"""Cross-modal instance discrimination with a pair of vision transformers: 16 frames at 224 px, 10 s of sound.

Inputs and patches are those of AV-MAE (Georgescu et al. 2023, arXiv 2212.05922), the loss is the in-batch
InfoNCE of `xid.py`; training drops half of the video's tubelets (as FLIP does, Li et al. 2023) and of the
spectrogram's patches. `:large` has ViT-L; `:billion` a pair of ViT-H of 1.26 billion parameters in
rematerialised scans, its parameters split over 16 chips. Build the data first (`avssl data build --short-side
256`).

  avssl pretrain --config configs/pretrain/xid_vit.py --workdir runs/xid-vit
  avssl plan --config configs/pretrain/xid_vit.py:billion --topology v5e:16x16

`:av_mae_shapes` has the shapes of AV-MAE as nearly as these encoders can, to compare what a step moves and
holds: ViT-B, of 1568 tubelets 157 are seen and of 496 patches 149, Adam, 4 clips on each of 256 chips. It is no
masked autoencoder, of which there is none here: AV-MAE has 10 layers for each modality and 2 on both, then a
decoder of 4 layers of 384 numbers over all 2064 tokens and a loss on what was left out (165.7 million
parameters); this has 12 layers for each modality, none on both, no decoder and the InfoNCE (172.3 million). So
it has the less to do, by the decoder. Scores are kept in bf16, and attention is computed anew.

  avssl plan --config configs/pretrain/xid_vit.py:av_mae_shapes --topology v5e:16x16

Expected: no published number for exactly this system. Measured: not run at this scale; whether it fits is what
`avssl plan` says.
"""

from avssl.config import base, variant_of


def get_config(variant: str = ""):
    config = base()
    config.steps = 100_000
    config.batch_size = 1024
    config.precision = "bf16"
    config.data.source = "tfds:data/audioset@train"
    config.data.workers = 16
    config.data.num_records = 1_784_108
    config.views.video = dict(modality="video", frames=16, fps=8.0, size=224)
    config.views.audio = dict(modality="audio", seconds=10.0, rate=16000)
    config.encoders.video = dict(
        name="vit_video", modality="video", frontend=dict(name="rgb"), patch_drop=0.5,
        remat="attention",
    )  # fmt: skip
    config.encoders.audio = dict(
        name="vit_audio", modality="audio", patch_drop=0.5, remat="attention",
        frontend=dict(
            name="log_mel", num_mels=128, fft_size=400, hop_seconds=0.01, mean=-40.0, std=20.0
        ),
    )  # fmt: skip
    config.objectives.xid = dict(weight=1.0, projection=(512,))
    config.optimizer.name = "adamw"
    config.optimizer.learning_rate = 3e-4
    config.optimizer.warmup_steps = 5000
    config.optimizer.weight_decay = 0.05
    config.eval.protocols = ()  # by `avssl evaluate`, on the data that it names
    return variant_of(config, variant, large=large, billion=billion, av_mae_shapes=av_mae_shapes)


def large(config):
    for encoder in config.encoders.values():
        encoder.size = "L"


def billion(config):
    config.batch_size = 4096
    config.parallel.fsdp = 16
    for encoder in config.encoders.values():
        encoder.update(size="H", scan=True, remat="full")


def av_mae_shapes(config):
    config.batch_size = 1024
    config.views.audio.seconds = 9.92  # 62 x 8 patches
    for encoder, dropped in ((config.encoders.video, 0.9), (config.encoders.audio, 0.7)):
        encoder.update(patch_drop=dropped, narrow_scores=True)
    config.optimizer.name = "adam"
    config.optimizer.weight_decay = 0.0
