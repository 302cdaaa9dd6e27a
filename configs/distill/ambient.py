"""Ambient sound at paper scale: a picture predicts the texture of the 3.75 s of sound around it.

Owens et al. 2016 (arXiv 1608.07017), as recalled, not verified: 360 thousand videos of Flickr, pictures of
227 px, SGD 0.01 with momentum 0.9, batch 256, 320 thousand steps. Departures: a ResNet-18 where the paper
has CaffeNet with BatchNorm, and a rate that falls along a cosine where it is divided by ten every 100 thousand
steps. Build the data first (`avssl data guide flickr_soundnet`): of the same Flickr, other videos than theirs.

  avssl pretrain --config configs/distill/ambient.py --workdir runs/ambient

`configs/distill/ambient.py:binary` predicts the signs of principal components, `:spectrum` those of the mean
cochleagram alone. Each step computes the textures of its batch, as each time it is another sound;
`--config.objectives.ambient.every_window=false` does it once, for the middle of each video.

Expected (as recalled, not verified): linear SVM on VOC 2007, fc7: 44.3 mAP of clusters, 47.4 of binary codes.
Measured: not run at this scale.
"""

from avssl import config as shared
from avssl.config import base, variant_of


def get_config(variant: str = ""):
    config = base()
    config.batch_size = 256
    config.steps = 320_000
    config.precision = "bf16"
    config.data.source = "tfds:data/flickr@train"
    config.data.workers = 8
    config.data.num_records = 360_000
    # 227 pixels of a short side of 256: 0.44 of a frame of 16:9, 0.59 of one of 4:3.
    config.views.video = dict(
        modality="video", frames=1, fps=25.0, size=227, align="center",
        crop_area=(0.44, 0.59), crop_aspect=(1.0, 1.0),
    )  # fmt: skip
    config.views.audio = dict(modality="audio", seconds=3.75, rate=20000)
    config.encoders.video = dict(name="resnet18_video", modality="video", frontend=dict(name="rgb"))
    config.encoders.audio = dict(
        name="identity_audio", modality="audio", frontend=dict(name="texture")
    )
    config.objectives.ambient = dict(weight=1.0)
    config.optimizer.name = "sgd"
    config.optimizer.arguments = dict(momentum=0.9)
    config.optimizer.learning_rate = 0.01
    config.optimizer.weight_decay = 5e-4
    config.eval.protocols = ()  # by `avssl evaluate`, on the data that it names
    return variant_of(config, variant, binary=binary, spectrum=spectrum, quicktest=quicktest)


def binary(config):
    config.objectives.ambient.form = "binary"


def spectrum(config):
    config.objectives.ambient.form = "spectrum"


def quicktest(config):
    shared.quicktest(config)
    # The smallest world has 32 clips.
    config.objectives.ambient.num_clusters = 8
