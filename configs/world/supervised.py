"""Labels on the embedded world, with the quickstart's small encoders: the upper bound of the ablations.

avssl pretrain --config configs/world/supervised.py --workdir runs/world-supervised
"""

from pathlib import Path

from avssl.config import variant_of
from avssl.config_file import load_config


def get_config(variant: str = ""):
    config = load_config(str(Path(__file__).parents[1] / "quickstart.py"))
    config.objectives = dict(supervised=dict(weight=1.0, num_classes=10))
    # No score between a picture and a sound is learnt.
    config.eval.protocols = ("knn", "linear")
    return variant_of(config, variant)
