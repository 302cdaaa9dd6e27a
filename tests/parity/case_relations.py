"""Distillation of relations: SP, CC, RKD, and by kernels PKT and information flow.

Information flow: the released code takes squared distances from products, so that a row's own
distance is between 0.001 and 0.002 by rounding, in an order of sums that nobody can repeat. The
golden's note therefore allows 2e-3 for losses by kernels of distances. Their gradients come from
the same run: 2e-3 of the largest entry. Cauchy's kernel takes squares, which hide it.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from avssl.losses.kernel_transfer import (
    KERNELS,
    information_flow,
    probabilistic_transfer,
)
from avssl.losses.relations import (
    distances,
    neighbour_congruence,
    relational_loss,
    similarity_loss,
)
from avssl.models.heads import ProjectionMLP

OF_DISTANCES = {"rtol": 2e-3}
GRADIENT_OF_DISTANCES = {"rtol": 2e-3, "atol": 2e-3}


def near(actual, expected, *, rtol: float = 1e-5):
    np.testing.assert_allclose(actual, np.squeeze(expected), rtol=rtol)


def near_gradient(actual, expected, *, rtol: float = 1e-4, atol: float = 1e-6):
    """`atol` is relative to the largest entry."""
    scale = np.abs(expected).max()
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=atol * scale)


def everyone(rows) -> jax.Array:
    return jnp.ones(len(rows), bool)


def value_and_gradient(loss_of, student, teacher):
    compute = jax.jit(jax.value_and_grad(partial(loss_of, present=everyone(student))))
    return compute(jnp.asarray(student), jnp.asarray(teacher))


def check_sp(golden: dict[str, np.ndarray]):
    total = 0.0
    for i in range(2):
        loss, gradient = value_and_gradient(similarity_loss, golden[f"s{i}"], golden[f"t{i}"])
        near(loss, golden[f"loss{i}"])
        near_gradient(gradient, golden[f"grad_s{i}"])
        total += loss
    near(total, golden["loss_sum"])


def check_pkt(golden: dict[str, np.ndarray]):
    features = golden["feat_s"], golden["feat_t"]
    loss, gradient = value_and_gradient(probabilistic_transfer, *features)
    near(loss, golden["loss"])
    near_gradient(gradient, golden["grad_feat_s"])


def check_rkd(golden: dict[str, np.ndarray]):
    features = golden["feat_s"], golden["feat_t"]
    for name, loss_name, weights in (
        ("distance", "loss_distance", (1.0, 0.0)),
        ("angle", "loss_angle", (0.0, 1.0)),
        ("total", "loss_total_wd25_wa50", (25.0, 50.0)),
    ):
        weighted = partial(relational_loss, distance_weight=weights[0], angle_weight=weights[1])
        loss, gradient = value_and_gradient(weighted, *features)
        near(loss, golden[loss_name])
        near_gradient(gradient, golden[f"grad_{name}"])
    for side in "st":
        rows = jnp.asarray(golden[f"feat_{side}"])
        near(distances(rows, rows, jnp.arange(len(rows))), golden[f"pdist_{side}"])


def check_cc(golden: dict[str, np.ndarray]):
    features = golden["feat_s"], golden["feat_t"]
    loss, gradient = value_and_gradient(neighbour_congruence, *features)
    near(loss, golden["loss"])
    near_gradient(gradient, golden["grad_feat_s"])

    embed = ProjectionMLP((len(golden["emb_bs"]),))
    params = {
        side: {
            "linear1": {
                "kernel": jnp.asarray(golden[f"emb_w{side}"].T),
                "bias": jnp.asarray(golden[f"emb_b{side}"]),
            }
        }
        for side in "st"
    }

    def forward(student, params):
        rows = {"s": student, "t": jnp.asarray(golden["emb_feat_t"])}
        embeddings = [embed.apply({"params": params[s]}, rows[s], train=True) for s in "st"]
        return neighbour_congruence(*embeddings, present=everyone(student))

    compute = jax.jit(jax.value_and_grad(forward, (0, 1)))
    loss, (to_student, to_params) = compute(jnp.asarray(golden["emb_feat_s"]), params)
    near(loss, golden["emb_loss"])
    near_gradient(to_student, golden["emb_grad_feat_s"])
    for side in "st":
        near_gradient(to_params[side]["linear1"]["kernel"].T, golden[f"emb_grad_w{side}"])
        near_gradient(to_params[side]["linear1"]["bias"], golden[f"emb_grad_b{side}"])


def check_ifd(golden: dict[str, np.ndarray]):
    num_layers = sum(name.startswith("t") and name[1:].isdigit() for name in golden)
    losses = []
    for i in range(num_layers):
        loss, gradient = value_and_gradient(information_flow, golden[f"s{i}"], golden[f"t{i}"])
        near(loss, golden[f"loss{i}"], **OF_DISTANCES)
        near_gradient(gradient, golden[f"grad_s{i}"], **GRADIENT_OF_DISTANCES)
        losses.append(loss)
    for epoch in range(2):
        # The golden's layer 0 is the last one; the inner ones lead early in training.
        weights = (1.0, *[100.0 * 0.7**epoch] * (num_layers - 1))
        total = sum(weight * loss for weight, loss in zip(weights, losses, strict=True))
        near(total, golden[f"total_epoch{epoch}"], **OF_DISTANCES)
    for kernel in KERNELS:
        flow = partial(information_flow, kernels=(kernel,))
        loss, gradient = value_and_gradient(flow, golden["s0"], golden["t0"])
        exact = kernel in ("cosine", "cauchy")
        allowed, gradient_allowed = ({}, {}) if exact else (OF_DISTANCES, GRADIENT_OF_DISTANCES)
        near(loss, golden[f"{kernel}_jeffreys_loss"], **allowed)
        near_gradient(gradient, golden[f"{kernel}_jeffreys_grad_s0"], **gradient_allowed)
    flow = partial(information_flow, kernels=("cosine",), divergence="kl")
    loss, _ = value_and_gradient(flow, golden["s0"], golden["t0"])
    near(loss, golden["cosine_kl_loss"])
