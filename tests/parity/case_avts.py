"""AVTS: the margin loss with gradients. Numbers of the equation: there is no official code."""

import re

import jax
import jax.numpy as jnp
import numpy as np

from avssl.losses.margin import margin_loss

close = {"rtol": 1e-5, "atol": 1e-6}


def check_avts(golden: dict):
    video, audio = jnp.asarray(golden["video"]), jnp.asarray(golden["audio"])
    together = jnp.asarray(golden["y"] == 1)
    names = [re.fullmatch(r"eta(.+)_loss", name) for name in golden]
    margins = [name.group(1) for name in names if name]
    assert margins
    for margin in margins:
        check_margin(golden, f"eta{margin}", video, audio, together, float(margin))


def check_margin(golden: dict, prefix: str, video, audio, together, margin: float):
    def forward(video, audio):
        present = jnp.ones_like(together)
        return margin_loss(video, audio, together, margin=margin, present=present)

    gradient_of = jax.jit(jax.value_and_grad(forward, (0, 1), has_aux=True))
    (loss, metrics), gradients = gradient_of(video, audio)
    np.testing.assert_allclose(loss, golden[f"{prefix}_loss"], **close)
    np.testing.assert_allclose(gradients[0], golden[f"{prefix}_gvideo"], **close)
    np.testing.assert_allclose(gradients[1], golden[f"{prefix}_gaudio"], **close)

    distance, positive = golden[f"{prefix}_dist"], golden["y"]
    num_positives, num_negatives = max(positive.sum(), 1), max((1 - positive).sum(), 1)
    expected = {
        "positive_distance": (distance * positive).sum() / num_positives,
        "negative_distance": (distance * (1 - positive)).sum() / num_negatives,
        "active_negatives": ((distance < margin) * (1 - positive)).sum() / num_negatives,
    }
    for name, value in expected.items():
        np.testing.assert_allclose(metrics[name], value, **close)
