"""Correspondence from distance (AVE-Net) on the embedded world, with the quickstart's small encoders.

avssl pretrain --config configs/world/ave.py --workdir runs/world-ave
"""

from pathlib import Path

from avssl.config import load_config, variant_of


def get_config(variant: str = ""):
    config = load_config(str(Path(__file__).parents[1] / "quickstart.py"))
    config.objectives = dict(ave=dict(weight=1.0, norm_heads=True, all_negatives=True))
    return variant_of(config, variant)
