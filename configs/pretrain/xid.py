"""Cross-modal instance discrimination at AVID's scale: R(2+1)D-18, Conv2D-10, 8 frames at 224 px, 2 s of sound.

Encoders, inputs, augmentation and optimiser of Morgado et al. 2021 (arXiv 2004.12943), Kinetics-400, with the
in-batch InfoNCE in place of the memory bank. Build the data first (`avssl data build --short-side 256`).

  avssl pretrain --config configs/pretrain/xid.py --workdir runs/xid --config.data.source=tfds:data/kinetics400

Expected: no published number for exactly this system; AVID reaches 86.9 % on UCF101 after fine-tuning.
Measured: not run at this scale.
"""

from avssl.config import base, variant_of


def get_config(variant: str = ""):
    config = base()
    config.steps = 272_000  # 30 epochs x 10 clips of 232,067 videos at 256
    config.batch_size = 256
    config.precision = "bf16"
    config.data.source = "tfds:data/kinetics400@train"
    config.data.workers = 16
    config.data.num_records = 232_067
    config.views.video = dict(
        modality="video", frames=8, fps=16.0, size=224, jitter_seconds=0.5,
        brightness=0.4, contrast=0.4, saturation=0.4, hue=0.2,
    )  # fmt: skip
    config.views.audio = dict(modality="audio", seconds=2.0, rate=24000, volume=0.1)
    config.encoders.video = dict(name="r2plus1d18", modality="video", frontend=dict(name="rgb"))
    config.encoders.audio = dict(name="conv2d10", modality="audio", frontend=dict(name="stft_db"))
    config.objectives.xid = dict(weight=1.0)
    config.optimizer.name = "adam"
    config.optimizer.learning_rate = 2e-4
    config.optimizer.schedule = "constant"
    config.optimizer.weight_decay = 1e-5
    config.eval.protocols = ()  # by `avssl evaluate`, on the data that it names
    return variant_of(config, variant)
