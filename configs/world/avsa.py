"""Spatial alignment (AVSA) on the embedded world of 360-degree scenes, with the quickstart's small encoders.

Four viewpoints a clip; the first 320 of 640 steps contrast one viewpoint with the sound turned towards it.

  avssl pretrain --config configs/world/avsa.py --workdir runs/world-avsa
"""

from pathlib import Path

from avssl.config import variant_of
from avssl.config_file import load_config


def get_config(variant: str = ""):
    config = load_config(str(Path(__file__).parents[1] / "quickstart.py"))
    config.batch_size = 32
    config.data.source = "world:sphere@train"
    config.eval.data = "world:sphere@train"
    config.eval.test_data = "world:sphere@test"
    config.views.video = dict(
        modality="video", frames=2, fps=4 / 3, size=64, projection="sphere", flip=False,
        brightness=0.2, contrast=0.2,
    )  # fmt: skip
    config.views.viewpoints = dict(**config.views.video.to_dict(), windows=4)
    config.views.audio.update(seconds=1.5, channels=4)
    config.objectives = dict(avsa=dict(weight=1.0, alignment_from_step=320, projection_width=64))
    return variant_of(config, variant)
