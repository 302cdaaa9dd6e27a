"""Instance discrimination against memory banks (AVID) on the embedded world, with small encoders.

A bank of 1200 rows: 256 negatives are a fifth of it. Embeddings of fresh encoders nearly coincide, and at the
published temperature of 0.07 they stayed so for the 150 steps that were tried (the banks, renewed every 19
steps, follow). 0.2 and a lower learning rate let go of that earlier on made-up features; in the world they were
not tried for longer than 92 steps.

  avssl pretrain --config configs/world/avid.py --workdir runs/world-avid
"""

from pathlib import Path

from avssl.config import variant_of
from avssl.config_file import load_config


def get_config(variant: str = ""):
    config = load_config(str(Path(__file__).parents[1] / "quickstart.py"))
    config.objectives = dict(
        avid=dict(weight=1.0, num_negatives=256, temperature=0.2, projection=(128, 64))
    )
    config.optimizer.learning_rate = 5e-4
    return variant_of(config, variant)
