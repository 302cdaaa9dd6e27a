"""The baseline beside every number: the same encoders at random initialisation.

Their BatchNorm statistics are set from training batches first; with the initial ones (mean 0, variance 1) a
random network would be needlessly bad, and the comparison flattering.
"""

import math
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from avssl.models.norm import BatchNorm
from avssl.train.model import Model, purpose_key

NUM_BATCHES = 10
MOMENTUM = BatchNorm.momentum


def random_variables(model: Model, seed: int, batches: Iterable[Any]) -> Any:
    """Random parameters with the statistics of `NUM_BATCHES` training batches."""
    variables = jax.jit(model.init)(purpose_key(jax.random.key(seed), "parameters"))
    initial = variables["batch_stats"]
    key = purpose_key(jax.random.key(seed), "baseline")

    @jax.jit
    def updated(statistics: Any, batch: Any, step: int) -> Any:
        weights = {**variables, "batch_stats": statistics, "ema": variables["params"]}
        return model.encode(weights, batch, jax.random.fold_in(key, step), train=True)[1]

    # Each pass over a norm leaves (1 - momentum) * old + momentum * batch, and a head may be passed twice.
    zeros, ones = (jax.tree.map(fill, initial) for fill in (jnp.zeros_like, jnp.ones_like))
    total, kept, count = zeros, initial, 0
    for step, batch in zip(range(NUM_BATCHES), batches, strict=False):
        of_batch = updated(zeros, batch, step)
        if count == 0:
            kept = jax.tree.map(_share_kept, updated(ones, batch, step), of_batch)
        total = jax.tree.map(jnp.add, total, of_batch)
        count += 1
    if count == 0:
        raise ValueError("the baseline needs at least one training batch")

    def mean_of_batches(summed: Array, share: Array, first: Array) -> Array:
        return jnp.where(share < 1.0, summed / count / jnp.maximum(1.0 - share, MOMENTUM), first)

    statistics = jax.tree.map(mean_of_batches, total, kept, initial)
    return {**variables, "batch_stats": statistics, "ema": variables["params"]}


def _share_kept(of_ones: Array, of_zeros: Array) -> Array:
    """How much of an old statistic is left; a power of 1 - momentum, to which rounding is undone."""
    passes = jnp.log(jnp.maximum(of_ones - of_zeros, 1e-6)) / math.log(1.0 - MOMENTUM)
    return (1.0 - MOMENTUM) ** jnp.round(passes)
