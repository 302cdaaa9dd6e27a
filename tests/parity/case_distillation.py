"""Distillation of answers: softened logits (KD) and SoundNet's class probabilities."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from avssl.losses.distillation import softened_divergence, soundnet_loss
from avssl.losses.pseudo_labels import pseudo_label_loss


def near(actual, expected, *, rtol: float = 1e-5):
    np.testing.assert_allclose(actual, np.squeeze(expected), rtol=rtol)


def near_gradient(actual, expected):
    scale = np.abs(expected).max()
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-6 * scale)


def check_kd(golden: dict[str, np.ndarray]):
    student, teacher = jnp.asarray(golden["logits_s"]), jnp.asarray(golden["logits_t"])
    label = jnp.asarray(golden["labels"], jnp.int32)
    present = jnp.ones(len(label), bool)
    temperatures = [name.removeprefix("loss_T") for name in golden if name.startswith("loss_T")]
    assert temperatures
    for temperature in temperatures:
        soft = partial(
            softened_divergence,
            teacher=teacher,
            temperature=float(temperature),
            present=present,
        )
        loss, gradient = jax.jit(jax.value_and_grad(soft))(student)
        near(loss, golden[f"loss_T{temperature}"])
        near_gradient(gradient, golden[f"grad_logits_s_T{temperature}"])

    def total(student):
        labels, _ = pseudo_label_loss(student, label, present=present)
        soft = softened_divergence(student, teacher, present=present)
        return 0.1 * labels + 0.9 * soft, labels

    (loss, labels), gradient = jax.jit(jax.value_and_grad(total, has_aux=True))(student)
    near(labels, golden["loss_ce"])
    near(loss, golden["total_r0p1_a0p9_T4"])
    near_gradient(gradient, golden["grad_total"])


def check_soundnet_kl(golden: dict[str, np.ndarray]):
    """The golden's arrays are [slot, clip, class]; its order of outputs is objects, then scenes."""
    names = ("obj", "scene")

    def arrays(kind):
        return {name: jnp.swapaxes(jnp.asarray(golden[f"{kind}_{name}"]), 0, 1) for name in names}

    present = jnp.ones(golden["logits_obj"].shape[1], bool)

    def forward(logits):
        return soundnet_loss(logits, arrays("target"), present=present, scale=float(golden["lam"]))

    compute = jax.jit(jax.value_and_grad(forward, has_aux=True))
    (loss, divergences), gradients = compute(arrays("logits"))
    near(loss, golden["loss_total"])
    near(jnp.concatenate([divergences[name] for name in names]), golden["loss_per_output"])
    sizes = {name: golden[f"logits_{name}"].shape[-1] for name in names}
    by_clip = [divergences[name] * sizes[name] for name in names]
    near(jnp.concatenate(by_clip), golden["kl_batchmean_per_output"])
    for name in names:
        near_gradient(jnp.swapaxes(gradients[name], 0, 1), golden[f"grad_{name}"])
