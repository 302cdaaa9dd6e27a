"""Binary correspondence (L3-Net) on the embedded world, with the quickstart's small encoders.

With the published fusion and one mismatch for each match, 640 steps stay where every answer is a half.

  avssl pretrain --config configs/world/avc.py --workdir runs/world-avc

`:pairs` has the data, encoders and rate of `dmc.py`: what it is compared with.
"""

from pathlib import Path

from avssl.config import load_config, variant_of


def get_config(variant: str = ""):
    config = load_config(str(Path(__file__).parents[1] / "quickstart.py"))
    config.objectives = dict(avc=dict(weight=1.0, norm_heads=True, all_negatives=True))
    return variant_of(config, variant, pairs=pairs)


def pairs(config):
    there = load_config(str(Path(__file__).parent / "dmc.py"))
    config.data.source = there.data.source
    config.eval.data, config.eval.test_data = there.eval.data, there.eval.test_data
    config.encoders = there.encoders
    config.optimizer.learning_rate = there.optimizer.learning_rate
