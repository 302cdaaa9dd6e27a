"""Cross-modal deep clustering (XDC) on Kinetics: R(2+1)D-18, a ResNet-18 on log-mel, 32 frames at 112 px.

Alwassel et al. 2020 (NeurIPS, arXiv 1911.12667). Only models are released: the video encoder is theirs
(BatchNorm epsilon 1e-3, weight 0.9 of the new statistics), 64 clusters are those of Kinetics (128 for
AudioSet), and nothing else is verified: crops of 112 from 128 pixels, 2 s of sound in 40 mel bands, SGD with a
warm-up to 0.01 a GPU of 32 clips, here 16 GPUs, and a clustering every 10 epochs. Here the rate falls along a
cosine.

  avssl pretrain --config configs/pretrain/xdc.py --workdir runs/xdc

Expected: fine-tuning on UCF101 / HMDB51 86.8 / 52.6 (not verified); with AudioSet 93.0 / 63.7, with 65 million
clips of IG-Kinetics 95.5 / 68.9 (released table). Measured: not run at this scale.
"""

from avssl import config as shared
from avssl.config import base, variant_of


def get_config(variant: str = ""):
    config = base()
    config.batch_size = 512
    config.steps = 45_300  # 100 epochs of 232,067 videos
    config.precision = "bf16"
    config.data.source = "tfds:data/kinetics400@train"
    config.data.workers = 16
    config.data.num_records = 232_067
    # 112 pixels of a short side of 128: 0.43 of a frame of 16:9, 0.57 of one of 4:3.
    config.views.video = dict(
        modality="video", frames=32, fps=30.0, size=112, align="start", crop_area=(0.43, 0.57),
        crop_aspect=(1.0, 1.0),
    )  # fmt: skip
    config.views.audio = dict(modality="audio", seconds=2.0, rate=24000, align="start")
    config.encoders.video = dict(
        name="r2plus1d18_torchvision", modality="video", norm_epsilon=1e-3, norm_momentum=0.9,
        frontend=dict(name="rgb"),
    )  # fmt: skip
    config.encoders.audio = dict(
        name="resnet18_audio", modality="audio",
        frontend=dict(
            name="log_mel", num_mels=40, fft_size=1024, window_samples=480, hop_seconds=0.01,
            mean=-40.0, std=20.0,
        ),
    )  # fmt: skip
    # 10 epochs.
    config.objectives.xdc = dict(weight=1.0, num_clusters=64, refresh_every_steps=4530)
    config.optimizer.name = "sgd"
    config.optimizer.arguments = dict(momentum=0.9)
    config.optimizer.learning_rate = 0.16
    config.optimizer.warmup_steps = 4530
    config.optimizer.weight_decay = 1e-4
    config.eval.protocols = ()
    return variant_of(config, variant, quicktest=quicktest)


def quicktest(config):
    shared.quicktest(config)
    # The smallest world has 32 clips.
    config.objectives.xdc.num_clusters = 8
