"""Distillation of a teacher's answers: its softened logits, or its class probabilities.

The other transfer losses are in `hints.py` (feature maps), `relations.py` and `kernel_transfer.py`
(how the rows of a batch lie to each other) and `memory_contrast.py`. All take `present`: rows where
it is False leave, whatever they hold; without any row the loss is 0.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from avssl.losses.contrastive import Scalar
from avssl.losses.rows import blank_absent, mean_present


def learner_and_constant(
    student: Float[Array, "b *rest"], teacher: Float[Array, "b *other"], present: Bool[Array, "b"]
) -> tuple[Float[Array, "b *rest"], Float[Array, "b *other"]]:
    """Both in float32 or wider, absent rows as zeros; no gradient reaches the teacher."""
    student = blank_absent(student, present)
    teacher = jax.lax.stop_gradient(blank_absent(teacher, present))
    return student, teacher.astype(student.dtype)


def softened_divergence(
    student: Float[Array, "b k"],
    teacher: Float[Array, "b k"],
    *,
    temperature: float | Scalar = 4.0,
    present: Bool[Array, "b"],
) -> Scalar:
    """Knowledge distillation of logits (Hinton, Vinyals & Dean 2015, arXiv 1503.02531, section 2).

    T^2 * mean_i sum_k p_ik (log p_ik - log q_ik), p and q the softmax of teacher and student logits
    over T = `temperature`. The entropy of p is subtracted, so that a perfect student has loss 0:
    the gradient is that of the paper's cross-entropy with soft targets. T^2 keeps the gradient's
    size, as the paper advises. Official (RepDistiller, `KD.py`): T = 4, used as 0.1 * cross-entropy
    of the labels + 0.9 * this.
    """
    student, teacher = learner_and_constant(student, teacher, present)
    heat = jnp.asarray(temperature).astype(student.dtype)
    target = jax.nn.log_softmax(teacher / heat)
    answer = jax.nn.log_softmax(student / heat)
    divergence = jnp.sum(jnp.exp(target) * (target - answer), axis=1)
    return heat**2 * mean_present(divergence, present)


def soundnet_divergence(
    logits: Float[Array, "b s k"], target: Float[Array, "b s k"], *, present: Bool[Array, "b"]
) -> Float[Array, "s"]:
    """SoundNet's KL of each time slot: (1 / bk) sum over rows and classes of p (log p - log q).

    Aytar, Vondrick & Torralba 2016 (NIPS, arXiv 1610.09001); code: soundnet, `main_train.lua` with
    Torch7's DistKLDiv. q is the softmax of the logits, p = `target` the teacher's probabilities;
    where p is 0 there is no loss and no gradient. As released it divides by the number of classes k
    too, so teachers of many classes weigh less: it is not a rescaled KL once there are several.
    """
    logits, target = learner_and_constant(logits, target, present)
    known = target > 0.0
    log_target = jnp.log(jnp.where(known, target, 1.0))
    each = jnp.where(known, target * (log_target - jax.nn.log_softmax(logits)), 0.0)
    rows = jnp.mean(each, axis=2)
    return jax.vmap(mean_present, in_axes=(1, None))(rows, present)


def soundnet_loss(
    logits: dict[str, Float[Array, "b s _"]],
    targets: dict[str, Float[Array, "b s _"]],
    *,
    present: Bool[Array, "b"] | dict[str, Bool[Array, "b"]],
    scale: float = 250.0,
) -> tuple[Scalar, dict[str, Float[Array, "s"]]]:
    """SoundNet's loss: `scale` times the mean divergence over teachers and slots; each divergence.

    `present` is one for all teachers or, as each may be silent of other rows, by name.
    Official: two teachers by name, objects (1000 classes) and scenes (401), 4 slots of 5 s, 250. No
    temperature and no labels.
    """
    divergences = {
        name: soundnet_divergence(
            logits[name],
            targets[name],
            present=present[name] if isinstance(present, dict) else present,
        )
        for name in sorted(logits)
    }
    return scale * jnp.mean(jnp.concatenate(list(divergences.values()))), divergences


def smooth_l1(
    difference: Float[Array, "*shape"], *, quadratic_until: float
) -> Float[Array, "*shape"]:
    """d^2 / (2 u) up to |d| = u, `quadratic_until` (1/9); |d| - u / 2 beyond."""
    size = jnp.abs(difference)
    return jnp.where(
        size <= quadratic_until, 0.5 / quadratic_until * difference**2, size - 0.5 * quadratic_until
    )
