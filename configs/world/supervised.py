"""Labels on the embedded world, with the quickstart's small encoders: the upper bound of the ablations.

  avssl pretrain --config configs/world/supervised.py --workdir runs/world-supervised

`configs/world/supervised.py:pictures` names pictures of one object, by the encoder of `ez_vsl.py`: what that,
`lvs.py` and `avl.py` begin with in ImageNet's place.
`configs/world/supervised.py:cells` keeps 8 x 8 cells of a picture, as `dmc.py` does, which begins with it.
`configs/world/supervised.py:sphere` is on those of `avsa.py`, where few views show what the label names;
`configs/world/supervised.py:long` is on those of `avts.py`, with its views and encoders.
"""

from pathlib import Path

from avssl.config import load_config, variant_of


def get_config(variant: str = ""):
    config = load_config(str(Path(__file__).parents[1] / "quickstart.py"))
    config.objectives = dict(supervised=dict(weight=1.0, num_classes=10))
    # No score between a picture and a sound is learnt.
    config.eval.protocols = ("knn", "linear")
    return variant_of(config, variant, pictures=pictures, cells=cells, sphere=sphere, long=long)


def pictures(config):
    config.steps = 960
    there = load_config(str(Path(__file__).parent / "ez_vsl.py"))
    config.views.video, config.encoders.video = there.views.video, there.encoders.video
    config.objectives = dict(classify=dict(weight=1.0, modalities=("video",), num_classes=10))


def cells(config):
    config.encoders.video.strides = (2, 1, 1)


def sphere(config):
    see_as(config, "avsa.py")
    del config.views.viewpoints


def long(config):
    there = see_as(config, "avts.py")
    config.batch_size = there.batch_size
    del config.views.audio_shifted


def see_as(config, file):
    """The data, views and encoders of another config."""
    there = load_config(str(Path(__file__).parent / file))
    config.data.source = there.data.source
    config.eval.data, config.eval.test_data = there.eval.data, there.eval.test_data
    config.views, config.encoders = there.views, there.encoders
    return there
