"""What CCL puts between a frozen teacher and its student."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Bool, Float

from avssl.models.precision import parameter_dtype
from avssl.models.unit import unit_vectors


class Composition(nn.Module):
    """m = t + linear([t / |t|; v / |v|]), and linear class logits of m (`CompositionClassifier`).

    t is the teacher's feature, a constant, which keeps its length in the sum; v the student's. CCL
    (Chen et al. 2021, arXiv 2104.10955): 512 features, layers `mlp` and `fc`. Kernels start as
    LeCun-normal and biases at zero, where the released code has PyTorch's default.

    Both come twice, with equal values: `composed` and `logits`, and `composed_detached` and
    `logits_detached`, from which no gradient reaches the student. Rows that are not present see
    zeros for both features: they may hold anything.
    """

    num_classes: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, teacher: Float[Array, "b d"], student: Float[Array, "b d"], present: Bool[Array, "b"]
    ) -> dict[str, Float[Array, "b _"]]:
        held = parameter_dtype(self.dtype)
        dense = functools.partial(nn.Dense, dtype=self.dtype, param_dtype=held)
        mix = dense(teacher.shape[-1], name="mix")
        classifier = dense(self.num_classes, name="classifier")
        # NaN in an absent row would reach the layers' gradients even where its own is 0.
        teacher, student = (
            jnp.where(present[:, None], x.astype(held), 0.0) for x in (teacher, student)
        )
        teacher = jax.lax.stop_gradient(teacher)

        def compose(student: Array) -> tuple[Array, Array]:
            both = jnp.concatenate([unit_vectors(teacher), unit_vectors(student)], axis=1)
            composed = teacher + mix(both).astype(held)
            return composed, classifier(composed)

        composed, logits = compose(student)
        composed_detached, logits_detached = compose(jax.lax.stop_gradient(student))
        return {
            "composed": composed,
            "logits": logits,
            "composed_detached": composed_detached,
            "logits_detached": logits_detached,
        }
