"""Deep multimodal clustering (DMC) on the embedded world of two sources, with the quickstart's small encoders.

The video encoder keeps 8 x 8 cells, which its maps are given in. The published encoders start trained, and so
do these, on clips of one object with labels.

  avssl pretrain --config configs/world/supervised.py:cells --workdir runs/world-cells
  avssl pretrain --config configs/world/dmc.py --workdir runs/world-dmc --config.init_from=runs/world-cells

From nothing, `objectives.dmc.norm_maps` takes out what all positions share.

`:simplified` takes the authors' later form, with 2 audio clusters for the two sources and 3 of video.
"""

from pathlib import Path

from avssl.config import load_config, variant_of


def simplified(config):
    config.objectives.dmc = dict(
        weight=1.0, form="simplified", video_clusters=3, audio_clusters=2, channels=128
    )


def get_config(variant: str = ""):
    config = load_config(str(Path(__file__).parents[1] / "quickstart.py"))
    config.data.source = "world:pairs@train"
    config.eval.data = "world:pairs@train"
    config.eval.test_data = "world:pairs@test"
    config.encoders.video.strides = (2, 1, 1)
    config.objectives = dict(dmc=dict(weight=1.0, all_negatives=True))
    config.optimizer.learning_rate = 1e-3
    return variant_of(config, variant, simplified=simplified)
