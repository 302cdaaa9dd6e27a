"""What memory banks cost a step: their update, and the negatives drawn from them (`avssl bench bank`)."""

from collections.abc import Iterator
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from avssl.bench.step import seconds_in_turns
from avssl.losses.bank import bank_cosines, bank_rows, draw_negatives, initial_bank, update_bank


@partial(jax.jit, donate_argnums=0)
def updated(banks: tuple[Array, Array], embedding: Array, index: Array) -> tuple[Array, Array]:
    present = jnp.ones(index.shape, bool)
    first, second = (
        update_bank(bank, embedding, index=index, present=present) for bank in banks
    )  # fmt: skip
    return first, second


@partial(jax.jit, static_argnums=3)
def compared(banks: tuple[Array, Array], embedding: Array, index: Array, num_negatives: int):
    keys = jax.random.split(jax.random.key(0), len(index))
    drawn = draw_negatives(
        keys, index=index, num_rows=len(banks[0]), num_negatives=num_negatives
    )  # fmt: skip
    return [bank_cosines(embedding, bank_rows(bank, drawn)) for bank in banks]


class Banks:
    """Two banks on one device, as AVID has them, and a batch of random records."""

    def __init__(self, rows: int, dim: int, batch_size: int, num_negatives: int):
        keys = jax.random.split(jax.random.key(0), 4)
        self.banks = initial_bank(keys[0], rows, dim), initial_bank(keys[1], rows, dim)
        self.embedding = jax.random.normal(keys[2], (batch_size, dim))
        self.index = jax.random.randint(keys[3], (batch_size,), 0, rows)
        self.num_negatives = num_negatives

    def update(self) -> None:
        self.banks = jax.block_until_ready(updated(self.banks, self.embedding, self.index))

    def compare(self) -> None:
        jax.block_until_ready(compared(self.banks, self.embedding, self.index, self.num_negatives))


def bench_bank(
    rows: int, dim: int, *, batch_size: int, num_negatives: int, num_steps: int
) -> Iterator[str]:
    """Lines for a person."""
    one = Banks(rows, dim, batch_size, num_negatives)
    size = sum(bank.nbytes for bank in one.banks) / 2**30
    yield f"device       {jax.devices()[0].device_kind}"
    yield f"banks        2 x {rows:,} x {dim} float32, {size:.2f} GiB"
    seconds = seconds_in_turns({"update": one.update, "compare": one.compare}, num_steps)
    median = f"(median of {num_steps}, batch of {batch_size})"
    yield f"update       {1e3 * seconds['update']:.2f} ms of both {median}"
    yield (
        f"negatives    {1e3 * seconds['compare']:.2f} ms to draw {num_negatives} a row, gather them from both "
        f"and compare {median}"
    )
