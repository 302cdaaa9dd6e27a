"""Instance discrimination against memory banks (AVID) on the embedded world, with small encoders.

A bank of 1200 rows: 256 negatives are a fifth of it. Embeddings of fresh encoders nearly coincide, and so do
the rows of the banks that follow them: heads with BatchNorm keep them apart.

  avssl pretrain --config configs/world/avid.py --workdir runs/world-avid
"""

from pathlib import Path

from avssl.config import variant_of
from avssl.config_file import load_config


def get_config(variant: str = ""):
    config = load_config(str(Path(__file__).parents[1] / "quickstart.py"))
    config.objectives = dict(
        avid=dict(
            weight=1.0, num_negatives=256, temperature=0.1, projection=(128, 64), norm_heads=True
        )
    )  # fmt: skip
    return variant_of(config, variant)
