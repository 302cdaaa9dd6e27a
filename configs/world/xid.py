"""Symmetric InfoNCE (xID) on the embedded world, with the quickstart's small encoders.

avssl pretrain --config configs/world/xid.py --workdir runs/world-xid
"""

from pathlib import Path

from avssl.config import load_config, variant_of


def get_config(variant: str = ""):
    config = load_config(str(Path(__file__).parents[1] / "quickstart.py"))
    return variant_of(config, variant)
