"""x

avssl pretrain --config configs/world/dmc.py --workdir runs/world-dmc
"""

from pathlib import Path

from avssl.config import variant_of
from avssl.config_file import load_config


def get_config(variant: str = ""):
    config = load_config(str(Path(__file__).parents[1] / "quickstart.py"))
    config.data.source = "world:pairs@train"
    config.eval.data = "world:pairs@train"
    config.eval.test_data = "world:pairs@test"
    config.encoders.video.strides = (2, 1, 1)
    config.objectives = dict(
        dmc=dict(weight=1.0, form="simplified", video_clusters=3, audio_clusters=2, channels=128)
    )
    return variant_of(config, variant)
