"""The baseline beside every number: the same encoders at random initialisation.

Their BatchNorm statistics are set from training batches first; with the initial ones (mean 0, variance 1) a
random network would be needlessly bad, and the comparison flattering.
"""

from collections.abc import Iterable
from typing import Any

import jax

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
    def updated(batch: Any, step: int) -> Any:
        weights = {**variables, "ema": variables["params"]}
        return model.encode(weights, batch, jax.random.fold_in(key, step), train=True)[1]

    total, count = None, 0
    for step, batch in zip(range(NUM_BATCHES), batches, strict=False):
        statistics = updated(batch, step)
        total = statistics if total is None else jax.tree.map(lambda a, b: a + b, total, statistics)
        count += 1
    if total is None:
        raise ValueError("the baseline needs at least one training batch")
    # One update is (1 - momentum) * initial + momentum * batch: solved for the mean of the batches.
    statistics = jax.tree.map(
        lambda summed, first: (summed / count - (1 - MOMENTUM) * first) / MOMENTUM, total, initial
    )
    return {**variables, "batch_stats": statistics, "ema": variables["params"]}
