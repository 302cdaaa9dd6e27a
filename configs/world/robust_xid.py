"""Robust-xID on the embedded world whose pairs are faulty in 40 of 100 clips, with the quickstart's encoders.

The warm-up, 400 of 640 steps, is as long as plain contrast takes to tell pairs apart: targets of a network that
cannot yet would only confirm themselves. In so few steps the averaged encoders must follow soon (0.9).
Temperatures of 0.2, heads with BatchNorm and colours drawn anew, as in `avid.py`, keep the networks from
learning the faulty pairs by heart.

avssl pretrain --config configs/world/robust_xid.py --workdir runs/world-robust-xid
"""

from pathlib import Path

from avssl.config import load_config, variant_of


def get_config(variant: str = ""):
    config = load_config(str(Path(__file__).parents[1] / "quickstart.py"))
    config.data.source = "world:faulty@train"
    # Probes are trained and scored on sound clips: the classes of faulty ones say nothing about their sound.
    config.eval.data = "world:quickstart@train"
    config.eval.test_data = "world:quickstart@test"
    config.views.video.update(hue=0.5, saturation=0.5)
    config.ema.decay = 0.9
    config.objectives = dict(
        robust_xid=dict(
            weight=1.0, temperature=0.2, own_temperature=0.2, target_temperature=0.1,
            warmup_steps=400, projection=(128, 64), norm_heads=True,
        )
    )  # fmt: skip
    return variant_of(config, variant)
