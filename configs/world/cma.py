"""Cross-modal agreement (CMA) on the embedded world, from a finished run of `avid.py` beside it.

Constants as there; the positive set is mined from the banks at the start and every 100 steps.

  avssl pretrain --config configs/world/cma.py --workdir runs/world-cma --config.init_from=runs/world-avid

Without `init_from`, `--config.objectives.cma.positives_from_step=240` lets the banks settle first.
"""

from pathlib import Path

from avssl import config as shared
from avssl.config import load_config, variant_of


def get_config(variant: str = ""):
    config = load_config(str(Path(__file__).parent / "avid.py"))
    config.objectives = dict(
        cma=dict(
            weight=1.0, num_negatives=256, temperature=0.2, projection=(128, 64), norm_heads=True,
            refresh_every_steps=100,
        )
    )  # fmt: skip
    return variant_of(config, variant, quicktest=quicktest)


def quicktest(config):
    shared.quicktest(config)
    # The smallest world has 32 clips.
    config.objectives.cma.num_positives = 8
    config.objectives.cma.refresh_every_steps = 1
