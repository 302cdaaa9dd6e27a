"""Cross-modal deep clustering (XDC) on the embedded world, with small encoders.

16 clusters of each modality, made anew from the features of all clips after half of the steps. A
classifier begins anew with its clusters: of more clusters, made anew more often, it learns none.

  avssl pretrain --config configs/world/xdc.py --workdir runs/world-xdc

Own clusters (SDC), both (MDC), those of the concatenated features (CDC): `--config.objectives.xdc.variant=sdc`.
"""

from pathlib import Path

from avssl import config as shared
from avssl.config import load_config, variant_of


def get_config(variant: str = ""):
    config = load_config(str(Path(__file__).parents[1] / "quickstart.py"))
    config.objectives = dict(xdc=dict(weight=1.0, num_clusters=16, refresh_every_steps=240))
    config.eval.protocols = ("knn", "linear", "clustering")
    return variant_of(config, variant, quicktest=quicktest)


def quicktest(config):
    shared.quicktest(config)
    # The smallest world has 32 clips.
    config.objectives.xdc.num_clusters = 8
