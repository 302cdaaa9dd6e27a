"""Labels on the embedded world, with the quickstart's small encoders: the upper bound of the ablations.

  avssl pretrain --config configs/world/supervised.py --workdir runs/world-supervised

`configs/world/supervised.py:crowd` is on the clips of `ez_vsl.py`, with its encoders: the teachers of `avl.py`.
`configs/world/supervised.py:sphere` is on those of `avsa.py`, where few views show what the label names.
"""

from pathlib import Path

from avssl.config import variant_of
from avssl.config_file import load_config


def get_config(variant: str = ""):
    config = load_config(str(Path(__file__).parents[1] / "quickstart.py"))
    config.objectives = dict(supervised=dict(weight=1.0, num_classes=10))
    # No score between a picture and a sound is learnt.
    config.eval.protocols = ("knn", "linear")
    return variant_of(config, variant, crowd=crowd, sphere=sphere)


def crowd(config):
    with_data_of("ez_vsl.py", config)


def sphere(config):
    with_data_of("avsa.py", config)
    del config.views.viewpoints


def with_data_of(file, config):
    """The clips of another config, seen and heard as there by the same encoders."""
    from_there = load_config(str(Path(__file__).parent / file))
    config.data.source = from_there.data.source
    config.eval.data, config.eval.test_data = from_there.eval.data, from_there.eval.test_data
    config.views, config.encoders = from_there.views, from_there.encoders
