"""Alignment of a student's feature maps with what several teachers attend to together."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from avssl.losses.contrastive import Scalar
from avssl.losses.hints import attention
from avssl.losses.rows import mean_present


def multi_teacher_alignment(
    student: list[Float[Array, "b _ _ _"]],
    teachers: list[list[Float[Array, "b _ _ _"]]],
    *,
    temperature: float | Scalar = 9.0,
    power: int = 2,
    released: bool = False,
    present: Bool[Array, "b"],
) -> tuple[Scalar, dict[str, Scalar]]:
    """MM-DistillNet's MTA loss (Valverde et al. 2021, arXiv 2103.01353; code: `src/loss/MTALoss.py`).

    `student` holds a map [batch, height, width, channels] for each level, `teachers` one such list
    for each teacher; channels may differ, sizes may not. With s = softmax(attention of the student /
    temperature) and t = softmax(joint attention of the teachers / temperature), over positions,
    loss = sum over levels of the mean over rows of KL(t || s). temperature 9, power 2; the released
    total adds 0.005 of it to the detection loss (the paper 0.5, by a third party), on P3 to P7.

    `released`: that code hands probabilities to a KL that expects their logarithms, which gives
    sum t (log t - s): negative, and with another gradient. Users of it report better detectors from
    the repaired form (its issue 12), which is the default and as the paper says. Either is weak at
    temperature 9, where softmaxes of unit vectors are nearly uniform: gradients of 1e-7 to 2e-4.

    Departures: rows with `present` False leave, whatever they hold; without any the loss is 0. No
    gradient for the teachers. Metrics: the loss of each level.
    """
    losses = []
    for level, features in enumerate(student):
        seen = [jax.lax.stop_gradient(maps[level]) for maps in teachers]
        target = jax.nn.log_softmax(joint_attention(seen, power, present) / temperature, axis=1)
        own = jax.nn.log_softmax(attention(features, power, present) / temperature, axis=1)
        reached = jnp.exp(own) if released else own
        target = target.astype(own.dtype)
        divergence = jnp.sum(jnp.exp(target) * (target - reached), axis=1)
        losses.append(mean_present(divergence, present))
    return sum(losses[1:], losses[0]), {f"level_{level}": loss for level, loss in enumerate(losses)}


def joint_attention(
    teachers: list[Float[Array, "b h w _"]], power: int, present: Bool[Array, "b"]
) -> Float[Array, "b n"]:
    """The product of the teachers' attentions, scaled to sum 1; of one teacher alone its own.

    High where all of them look: their pictures must show the same pixels. Of one teacher it is
    scaled to length 1 and not to sum 1, as released. Attentions without a common position give zeros.
    """
    joint = attention(teachers[0], power, present)
    if len(teachers) == 1:
        return joint
    for other in teachers[1:]:
        joint = joint * attention(other, power, present).astype(joint.dtype)
    total = jnp.sum(joint, axis=1, keepdims=True)
    return jnp.where(total > 0.0, joint / jnp.where(total > 0.0, total, 1.0), 0.0)
