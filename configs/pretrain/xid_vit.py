"""Cross-modal instance discrimination with a pair of vision transformers: 16 frames at 224 px, 10 s of sound.

Inputs and patches are nearly those of AV-MAE (`av_mae.py`), the loss is the in-batch InfoNCE of `xid.py`;
training drops half of the video's tubelets (as FLIP does, Li et al. 2023) and of the spectrogram's patches.
`:large` has ViT-L; `:billion` a pair of ViT-H of 1.26 billion parameters in rematerialised scans, its
parameters split over 16 chips. Build the data first (`avssl data build --short-side 256`).

  avssl pretrain --config configs/pretrain/xid_vit.py --workdir runs/xid-vit
  avssl plan --config configs/pretrain/xid_vit.py:billion --topology v5e:16x16

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
    return variant_of(config, variant, large=large, billion=billion)


def large(config):
    for encoder in config.encoders.values():
        encoder.size = "L"


def billion(config):
    config.batch_size = 4096
    config.parallel.fsdp = 16
    for encoder in config.encoders.values():
        encoder.update(size="H", scan=True, remat="full")
