"""Self-labelling (SeLaVi) on VGG-Sound: R(2+1)D-18, ResNet-9 on 257 filters, 30 frames at 112 px, 1 s of sound.

Asano et al. 2020 (NeurIPS, arXiv 2006.13662; code facebookresearch/selavi): 309 clusters, 10 heads in 2
groups, gaussian marginals, aligned modalities, 100 solves for each head over 200 epochs; SGD with momentum 0.9,
weight decay 1e-5, 1024 clips a batch, the rate warmed up for 10 epochs to 0.64 and then constant. `:kinetics`
is the run with 400 clusters.

  avssl pretrain --config configs/pretrain/selavi.py --workdir runs/selavi

Expected (released table): clusters of VGG-Sound NMI 55.9 %, accuracy 31.0 %, of Kinetics 27.1 and 7.8 %;
fine-tuning on UCF101 / HMDB51 86.1 / 55.1. Measured: not run at this scale.
"""

from avssl import config as shared
from avssl.config import base, variant_of


def get_config(variant: str = ""):
    config = base()
    config.batch_size = 1024
    config.steps = 33_200  # 200 epochs of 170,000 videos
    config.precision = "bf16"
    config.data.source = "tfds:data/vggsound@train"
    config.data.workers = 16
    config.data.num_records = 170_000
    # A random scale: the short side is 128 to 160 pixels there.
    config.views.video = dict(
        modality="video", frames=30, fps=30.0, size=112, align="start", crop_area=(0.28, 0.43),
        crop_aspect=(1.0, 1.0),
    )  # fmt: skip
    config.views.audio = dict(modality="audio", seconds=1.0, rate=24000, align="start", volume=0.1)
    config.encoders.video = dict(
        name="r2plus1d18_torchvision", modality="video", frontend=dict(name="rgb")
    )
    config.encoders.audio = dict(
        name="resnet9_audio", modality="audio", frontend=dict(name="log_filterbank")
    )
    config.objectives.selavi = dict(
        weight=1.0, num_clusters=309, marginals="gaussian", schedule_steps=config.steps
    )
    config.optimizer.name = "sgd"
    config.optimizer.arguments = dict(momentum=0.9)
    config.optimizer.learning_rate = 0.64
    config.optimizer.schedule = "constant"
    config.optimizer.warmup_steps = 1660
    config.optimizer.weight_decay = 1e-5
    config.eval.protocols = ()
    return variant_of(config, variant, kinetics=kinetics, quicktest=quicktest)


def kinetics(config):
    config.steps = 45_300  # 200 epochs of 232,067 videos
    config.data.source = "tfds:data/kinetics400@train"
    config.data.num_records = 232_067
    config.objectives.selavi.num_clusters = 400
    config.objectives.selavi.schedule_steps = config.steps
    config.optimizer.warmup_steps = 2265


def quicktest(config):
    shared.quicktest(config)
    # The smallest world has 32 clips.
    config.objectives.selavi.update(
        num_clusters=4, num_heads=2, head_width=32, schedule_steps=config.steps
    )
