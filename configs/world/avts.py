"""Temporal synchronisation (AVTS) on the embedded world of long clips, with the quickstart's small encoders.

Hard negatives are sounds of the same clip at least half a second away; they begin after 320 of 640 steps, at a
rate that has not fallen: a cosine would leave them a fifth of all that there is.
Picture and sound are compared in eight moments of a second. Where all distances are equal the loss is least at
half the margin: with the published margin, or one of 2, fresh vectors first agree on a common direction, which
tells nothing, and stay there. With 2 sqrt(2) that distance is the one of vectors that have nothing in common.

  avssl pretrain --config configs/world/avts.py --workdir runs/world-avts

`:super_hard` adds negatives that overlap; the three kinds then share the weight alike.
"""

from pathlib import Path

from avssl import config as shared
from avssl.config import load_config, variant_of


def get_config(variant: str = ""):
    config = load_config(str(Path(__file__).parents[1] / "quickstart.py"))
    config.data.source = "world:long@train"
    config.eval.data = "world:long@train"
    config.eval.test_data = "world:long@test"
    config.batch_size = 32
    config.optimizer.schedule = "constant"
    # Both of one second, at the same place: 8 frames a second show when something strikes.
    config.views.video.update(frames=8, fps=8.0, align="start")
    config.views.audio.update(seconds=1.0, align="start")
    config.views.audio_shifted = dict(**config.views.audio, shift_seconds=(1.5, 5.0))
    config.encoders.video.temporal_width = 128
    # 127 spectra of a second, which four strides make 8 moments.
    config.encoders.audio.frontend.update(hop_seconds=1 / 128, last_frame=False)
    config.objectives = dict(
        avts=dict(
            weight=1.0, hard_from_step=320, by_moment=True, projection=(64, 16), norm_heads=True,
            margin=2.83, normalise=True,
        )
    )  # fmt: skip
    return variant_of(config, variant, super_hard=super_hard, quicktest=quicktest)


def super_hard(config):
    config.views.audio_overlapping = dict(**config.views.audio, shift_seconds=(0.25, 0.75))
    config.objectives.avts.update(super_hard_view="audio_overlapping", hard_fraction=2 / 3)


def quicktest(config):
    shared.quicktest(config)
    # As many moments as the two frames that are left.
    for name in config.views:
        if name != "video":
            config.views[name].seconds = 0.25
