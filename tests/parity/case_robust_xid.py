"""Robust-xID: statistics and weights of agreement, soft targets, and the losses with gradients.

Numbers of the equations, not of official code, of which there is none.
"""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from avssl.losses.robust import (
    agreement,
    agreement_weights,
    initial_statistics,
    robust_cross_modal_loss,
    rows_and_candidates,
    soft_targets,
    update_statistics,
)

LEAST_WEIGHT = 0.25
SOFTNESS = 0.5
LOSS_WEIGHTS = "w_clip_d0.0_k0.5"
ESTIMATORS = {
    "bootstrap": "bootstrapped",
    "swapped": "swapped",
    "neighbor": "neighbour",
    "cycle": "cycle",
}
close = {"rtol": 1e-5, "atol": 1e-6}


def check_robust_xid(golden: dict):
    rows = len(golden["video"])
    batch = {"index": jnp.arange(rows), "present": jnp.ones(rows, bool)}
    check_statistics(golden, batch)
    # The golden's distribution function is float64; far in its tail float32 keeps fewer digits.
    with jax.enable_x64(True):
        check_weights(golden)
    targets = {
        name: jnp.asarray(golden[f"{name.split('_')[0]}_bar"])
        for name in ("video_target", "audio_target")
    }
    check_plain(golden, targets, batch)
    for name in ESTIMATORS:
        check_soft(name, golden, targets, batch)


def check_statistics(golden: dict, batch: dict):
    score = agreement(
        jnp.asarray(golden["video_bar"]), jnp.asarray(golden["audio_bar"]), present=batch["present"]
    )
    np.testing.assert_allclose(score, golden["score"], **close)
    statistics = update_statistics(initial_statistics(), score, present=batch["present"])
    np.testing.assert_allclose(statistics["mean"], golden["mu"], **close)
    np.testing.assert_allclose(statistics["deviation"], golden["sigma"], rtol=1e-5)


def check_weights(golden: dict):
    score = jnp.asarray(golden["score"], jnp.float64)
    cases = [re.fullmatch(r"cdf_(d(.+)_k(.+))", name) for name in golden]
    cases = [case.groups() for case in cases if case]
    assert cases
    for case, delta, kappa in cases:
        expected = {
            ("clip", 0.0): golden[f"cdf_{case}"],
            ("affine", 0.0): golden[f"cdf_{case}"],
            ("clip", LEAST_WEIGHT): golden[f"w_clip_{case}"],
            ("affine", LEAST_WEIGHT): golden[f"w_affine_{case}"],
        }
        for (floor, least_weight), weights in expected.items():
            found = agreement_weights(
                score,
                mean=float(golden["mu"]),
                deviation=float(golden["sigma"]),
                shift=float(delta),
                kappa=float(kappa),
                least_weight=least_weight,
                floor=floor,
            )
            np.testing.assert_allclose(found, weights, rtol=1e-10)


def loss_and_gradients(golden: dict, targets: dict, batch: dict, **options):
    def forward(video, audio):
        loss, _ = robust_cross_modal_loss(
            video, audio, **targets, temperature=float(golden["tau"]), **options, **batch
        )
        return loss

    gradient_of = jax.jit(jax.value_and_grad(forward, (0, 1)))
    return gradient_of(jnp.asarray(golden["video"]), jnp.asarray(golden["audio"]))


def check_plain(golden: dict, targets: dict, batch: dict):
    loss, _ = loss_and_gradients(golden, targets, batch)
    np.testing.assert_allclose(loss, golden["xid_mean"], **close)
    # Under the weight of one row alone the loss is that row's.
    alone = jnp.eye(len(golden["video"]))
    per_sample, _ = jax.vmap(
        lambda weights: loss_and_gradients(golden, targets, batch, weights=weights)
    )(alone)
    np.testing.assert_allclose(per_sample, golden["xid_per_sample"], **close)

    weights = jnp.asarray(golden[LOSS_WEIGHTS], jnp.float32)
    loss, gradients = loss_and_gradients(golden, targets, batch, weights=weights)
    np.testing.assert_allclose(loss, golden["rxid_loss"], **close)
    np.testing.assert_allclose(gradients[0], golden["rxid_gv"], **close)
    np.testing.assert_allclose(gradients[1], golden["rxid_ga"], **close)


def check_soft(name: str, golden: dict, targets: dict, batch: dict):
    soften = partial(
        soft_targets,
        estimator=ESTIMATORS[name],
        temperature=float(golden["tau_s"]),
        own_temperature=float(golden["tau_t"]),
    )
    soft = soften(*rows_and_candidates(**targets, **batch))
    np.testing.assert_allclose(soft[0], golden[f"{name}_Sv"], **close)
    np.testing.assert_allclose(soft[1], golden[f"{name}_Sa"], **close)

    weights = jnp.asarray(golden[LOSS_WEIGHTS], jnp.float32)
    for prefix, chosen in (("", None), ("weighted_", weights)):
        loss, gradients = loss_and_gradients(
            golden, targets, batch, soft=soften, softness=SOFTNESS, weights=chosen
        )
        np.testing.assert_allclose(loss, golden[f"{name}_{prefix}soft_loss"], **close)
        np.testing.assert_allclose(gradients[0], golden[f"{name}_{prefix}gv"], **close)
        np.testing.assert_allclose(gradients[1], golden[f"{name}_{prefix}ga"], **close)
