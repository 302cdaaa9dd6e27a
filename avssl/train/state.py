"""Everything that a step changes."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from avssl.train.model import Model, purpose_key


@struct.dataclass
class TrainState:
    """`step` counts finished updates; `seen` and `bad` count clips and those that had to be substituted.

    untaught: by teacher, the clips of which its store should have held something.
    """

    step: jax.Array
    params: Any
    opt_state: Any
    batch_stats: Any
    memory: Any
    ema: Any
    seen: jax.Array
    bad: jax.Array
    untaught: dict[str, jax.Array] = struct.field(default_factory=dict)

    def variables(self) -> dict[str, Any]:
        return {
            "params": self.params,
            "batch_stats": self.batch_stats,
            "memory": self.memory,
            "ema": self.ema,
        }

    def items(self) -> dict[str, Any]:
        """The items of a checkpoint, apart, so that a reader takes only what it needs."""
        return {
            "params": self.params,
            "opt_state": self.opt_state,
            "batch_stats": self.batch_stats,
            "memory": self.memory,
            "ema": self.ema,
            "counters": {"step": self.step, "seen": self.seen, "bad": self.bad},
            "untaught": self.untaught,
        }

    def with_items(self, items: dict[str, Any]) -> "TrainState":
        items = dict(items)
        return dataclasses.replace(self, **items.pop("counters"), **items)


def initial_state(model: Model, optimizer: Any, seed: int, ema_decay: float) -> TrainState:
    """The state before the first step: a function of the config and the seed alone."""
    variables = model.init(purpose_key(jax.random.key(seed), "parameters"))
    params = variables["params"]
    zero = jnp.zeros((), jnp.int32)
    return TrainState(
        step=zero,
        params=params,
        opt_state=optimizer.init(params),
        batch_stats=variables["batch_stats"],
        memory=variables["memory"],
        # A copy of its own: the step donates both.
        ema=jax.tree.map(jnp.copy, params) if ema_decay else {},
        seen=zero,
        bad=zero,
        untaught=dict.fromkeys(model.taught, zero),
    )
