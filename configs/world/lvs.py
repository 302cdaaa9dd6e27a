"""LVS on the embedded world of several objects, some of them silent: clips and encoders of `ez_vsl.py`.

  avssl pretrain --config configs/world/lvs.py --workdir runs/world-lvs --config.init_from=runs/world-pictures

Measured: RESULTS.md, by `configs/ablations/students.py`.
"""

from pathlib import Path

from avssl.config import load_config, variant_of


def get_config(variant: str = ""):
    config = load_config(str(Path(__file__).parent / "ez_vsl.py"))
    config.objectives = dict(lvs=dict(weight=1.0))
    return variant_of(config, variant)
