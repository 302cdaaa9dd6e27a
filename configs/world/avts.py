"""Temporal synchronisation (AVTS) on the embedded world of long clips, with the quickstart's small encoders.

Hard negatives are sounds of the same clip at least half a second away; they begin after 320 of 640 steps. The
encoders keep time: averaged over a second, nothing would tell when in it something strikes. With the published
heads and margin, fresh vectors, which nearly coincide, stay where every distance is half the margin. Normalised
heads keep them apart, and a margin of 2, the largest distance, keeps every negative within reach.

  avssl pretrain --config configs/world/avts.py --workdir runs/world-avts
"""

from pathlib import Path

from avssl.config import variant_of
from avssl.config_file import load_config


def get_config(variant: str = ""):
    config = load_config(str(Path(__file__).parents[1] / "quickstart.py"))
    config.data.source = "world:long@train"
    config.eval.data = "world:long@train"
    config.eval.test_data = "world:long@test"
    config.batch_size = 32
    # Both of one second, at the same place: 8 frames a second show when something strikes.
    config.views.video.update(frames=8, fps=8.0, align="start")
    config.views.audio.update(seconds=1.0, align="start")
    config.views.audio_shifted = dict(**config.views.audio, shift_seconds=(1.5, 5.0))
    config.encoders.video.update(keep_time=True, temporal_width=128)
    config.encoders.audio.update(keep_time=True)
    config.objectives = dict(
        avts=dict(
            weight=1.0, hard_from_step=320, projection=(128, 64), norm_heads=True, margin=2.0
        )
    )  # fmt: skip
    return variant_of(config, variant)
