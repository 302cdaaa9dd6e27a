"""Distillation of maps: FitNet with its regressor, attention, VID with its regressor, NST."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from avssl.losses.hints import (
    attention,
    attention_loss,
    hint_loss,
    pool_to_smaller,
    selectivity_loss,
    variational_loss,
)
from avssl.models.regressors import HintRegressor, VariationalRegressor


def near(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


def near_gradient(actual, expected):
    scale = np.abs(expected).max()
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-6 * scale)


def channels_last(x: np.ndarray) -> jax.Array:
    return jnp.asarray(np.moveaxis(x, 1, -1))


def channels_first(x: jax.Array) -> np.ndarray:
    return np.moveaxis(np.asarray(x), -1, 1)


def everyone(rows) -> jax.Array:
    return jnp.ones(len(rows), bool)


def stages(golden: dict) -> int:
    return sum(name.startswith("t") and name[1:].isdigit() for name in golden)


def check_fitnet(golden: dict[str, np.ndarray]):
    for prefix in ("", "down_"):
        check_regressed_hint(golden, prefix)
    hint = partial(hint_loss, present=everyone(golden["vec_s"]))
    loss, gradient = jax.jit(jax.value_and_grad(hint))(
        jnp.asarray(golden["vec_s"]), jnp.asarray(golden["vec_t"])
    )
    near(loss, golden["vec_loss"])
    near_gradient(gradient, golden["vec_grad_s"])


def check_regressed_hint(golden: dict, prefix: str):
    teacher = channels_last(golden[f"{prefix}feat_t"])
    regressor = HintRegressor(teacher.shape[1:])
    params = {
        "conv": {"kernel": jnp.asarray(golden[f"{prefix}conv_w"].transpose(2, 3, 1, 0))},
        "norm": {
            "scale": jnp.asarray(golden[f"{prefix}bn_w"]),
            "bias": jnp.asarray(golden[f"{prefix}bn_b"]),
        },
    }

    def forward(student, params):
        output, _ = regressor.apply(
            {"params": params}, student, train=True, mutable=["batch_stats"]
        )
        return hint_loss(output, teacher, present=everyone(teacher)), output

    compute = jax.jit(jax.value_and_grad(forward, (0, 1), has_aux=True))
    student = channels_last(golden[f"{prefix}feat_s"])
    (loss, output), (to_student, to_params) = compute(student, params)
    expected = golden[f"{prefix}reg_out"]
    scale = np.abs(expected).max()
    np.testing.assert_allclose(channels_first(output), expected, rtol=1e-5, atol=1e-6 * scale)
    near(loss, golden[f"{prefix}loss"])
    near_gradient(channels_first(to_student), golden[f"{prefix}grad_feat_s"])
    if f"{prefix}grad_conv_w" in golden:
        kernel = to_params["conv"]["kernel"].transpose(3, 2, 0, 1)
        near_gradient(kernel, golden[f"{prefix}grad_conv_w"])
        near_gradient(to_params["norm"]["scale"], golden[f"{prefix}grad_bn_w"])
        near_gradient(to_params["norm"]["bias"], golden[f"{prefix}grad_bn_b"])
        # The official bias has no effect, which is why there is none here.
        np.testing.assert_allclose(golden[f"{prefix}grad_conv_b"], 0.0, atol=1e-6)


def check_stages(golden: dict, loss_of):
    """Losses of all stages, and gradients of their sum."""
    num_stages = stages(golden)
    assert num_stages > 1
    teachers = [channels_last(golden[f"t{i}"]) for i in range(num_stages)]

    def forward(students):
        losses = [
            loss_of(student, teacher, present=everyone(teacher))
            for student, teacher in zip(students, teachers, strict=True)
        ]
        return sum(losses[1:], losses[0]), losses

    students = [channels_last(golden[f"s{i}"]) for i in range(num_stages)]
    (total, losses), gradients = jax.jit(jax.value_and_grad(forward, has_aux=True))(students)
    for i in range(num_stages):
        near(losses[i], golden[f"loss{i}"])
        near_gradient(channels_first(gradients[i]), golden[f"grad_s{i}"])
    return total


def check_at(golden: dict[str, np.ndarray]):
    total = check_stages(golden, attention_loss)
    near(total, golden["loss_sum"])
    for side in "st":
        features = channels_last(golden[f"{side}0"])
        found = attention(features, 2, everyone(features))
        near(found, golden[f"attn_{side}0"])


def check_nst(golden: dict[str, np.ndarray]):
    check_stages(golden, selectivity_loss)


def check_vid(golden: dict[str, np.ndarray]):
    regressor = VariationalRegressor(golden["w2"].shape[0], hidden=golden["w0"].shape[0])
    params = {
        f"linear{i + 1}": {"kernel": jnp.asarray(golden[f"w{i}"][:, :, 0, 0].T)} for i in range(3)
    }
    params["raw_variance"] = jnp.asarray(golden["log_scale"])

    def forward(student, params):
        student, teacher = pool_to_smaller(student, channels_last(golden["feat_t"]))
        predicted, raw_variance = regressor.apply({"params": params}, student)
        return variational_loss(predicted, teacher, raw_variance, present=everyone(teacher))

    compute = jax.jit(jax.value_and_grad(forward, (0, 1)))
    loss, (to_student, to_params) = compute(channels_last(golden["feat_s"]), params)
    near(loss, golden["loss"])
    near_gradient(channels_first(to_student), golden["grad_feat_s"])
    near_gradient(to_params["raw_variance"], golden["grad_log_scale"])
    for i in range(3):
        kernel = to_params[f"linear{i + 1}"]["kernel"].T
        near_gradient(kernel, golden[f"grad_w{i}"][:, :, 0, 0])
