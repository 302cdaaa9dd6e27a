"""MCN: multimodal clustering of video and sound, 16 frames at 224 px and 10 s of sound at 16 kHz.

Chen, Rouditchenko et al. 2021 (arXiv 2104.12671) on HowTo100M: 4096 pairs a batch (32 clips of each of 128
videos), Adam 1e-4, cosine after 5000 steps of warm-up, 30 epochs, embeddings of 6144, 256 clusters, a queue of
20 half batches. Departures: the paper's video features come from two frozen networks (ResNet-152 and
ResNeXt-101), where R(2+1)D-18 is trained along; of the sound no pre-emphasis, Hann windows where it has
Hamming's, its mean stays, and decibels are absolute, there relative to the clip's maximum; no text yet. The
queue takes 1.0 GB in float32, split over `parallel.fsdp`. HowTo100M has no reader here: it is a folder of the
videos that HowTo100M_v1.csv lists (https://www.di.ens.fr/willow/research/howto100m).

  avssl data build folder:/data/howto100m/videos data/howto100m --short-side 256 --require audio,video
  avssl pretrain --config configs/pretrain/mcn.py --workdir runs/mcn

Expected, with text: YouCook2 R@1 18.1, MSR-VTT R@1 10.5, CrossTask recall 35.1 (as published, not verified).
Measured: not run at this scale.
"""

from avssl.config import base, quicktest, variant_of


def smaller(config):
    quicktest(config)
    config.objectives.mcn.update(
        embedding_width=64, audio_gated_width=64, reconstruction_width=64, num_clusters=16,
        queue_rows=80,
    )  # fmt: skip


def get_config(variant: str = ""):
    config = base()
    config.steps = 281_000  # 30 epochs of 1.2 million videos at 128 a batch
    config.batch_size = 4096
    config.precision = "bf16"
    config.data.source = "tfds:data/howto100m@train"
    config.data.workers = 16
    config.data.num_records = 1_200_000
    config.views.video = dict(
        modality="video", frames=16, fps=1.6, size=224, crop="center", flip=False
    )
    config.views.audio = dict(modality="audio", seconds=10.0, rate=16000)
    config.encoders.video = dict(name="r2plus1d18", modality="video", frontend=dict(name="rgb"))
    config.encoders.audio = dict(
        name="resdavenet",
        modality="audio",
        # 25 ms every 10 ms, in a transform of 512 where the released code has 400.
        frontend=dict(
            name="log_mel", num_mels=40, fft_size=512, window_samples=400, hop_seconds=0.01,
            min_hz=20.0,
        ),
    )  # fmt: skip
    config.objectives.mcn = dict(
        weight=1.0, embedding_width=6144, audio_gated_width=1024, reconstruction_width=1024,
        num_clusters=256, queue_rows=40960,
        restart_every_steps=9375,  # an epoch of 128 videos a batch
        target_gradient=True, unit_targets=False,
    )  # fmt: skip
    config.optimizer.name = "adam"
    config.optimizer.learning_rate = 1e-4
    config.optimizer.warmup_steps = 5000
    config.eval.protocols = ()  # by `avssl evaluate`, on the data that it names
    return variant_of(config, variant, quicktest=smaller)
