"""Symmetric InfoNCE (xID) on the embedded world, with the quickstart's small encoders.

  avssl pretrain --config configs/world/xid.py --workdir runs/world-xid

`:faulty` has the data, views, temperature and heads of `robust_xid.py`: what it is compared with.
"""

from pathlib import Path

from avssl.config import load_config, variant_of


def get_config(variant: str = ""):
    config = load_config(str(Path(__file__).parents[1] / "quickstart.py"))
    return variant_of(config, variant, faulty=faulty)


def faulty(config):
    there = load_config(str(Path(__file__).parent / "robust_xid.py"))
    config.data.source, config.views = there.data.source, there.views
    robust = there.objectives.robust_xid
    config.objectives.xid.update(temperature=robust.temperature, norm_heads=robust.norm_heads)
