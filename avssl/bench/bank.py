"""What memory banks cost a step: their update, and the negatives drawn from them (`avssl bench bank`)."""

from collections.abc import Iterator
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import Mesh

from avssl.bench.step import seconds_in_turns
from avssl.losses.bank import bank_cosines, bank_rows, draw_negatives, initial_bank, update_bank
from avssl.train.mesh import batch_sharding, check_batch_divides, make_mesh, state_shardings


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
    """Two banks as AVID has them, split as in training, and a batch of random records."""

    def __init__(self, rows: int, dim: int, batch_size: int, num_negatives: int, mesh: Mesh):
        keys = jax.random.split(jax.random.key(0), 4)

        def fresh(*keys: Array) -> tuple[Array, Array]:
            return initial_bank(keys[0], rows, dim), initial_bank(keys[1], rows, dim)

        split = state_shardings(jax.eval_shape(fresh, *keys[:2]), mesh)
        self.banks = jax.jit(fresh, out_shardings=split)(*keys[:2])
        self.embedding, self.index = jax.device_put(
            (
                jax.random.normal(keys[2], (batch_size, dim)),
                jax.random.randint(keys[3], (batch_size,), 0, rows),
            ),
            batch_sharding(mesh),
        )
        self.num_negatives = num_negatives

    @property
    def bytes_of_a_device(self) -> int:
        return sum(bank.addressable_shards[0].data.nbytes for bank in self.banks)

    def update(self) -> None:
        self.banks = jax.block_until_ready(updated(self.banks, self.embedding, self.index))

    def compare(self) -> None:
        jax.block_until_ready(compared(self.banks, self.embedding, self.index, self.num_negatives))


def bench_bank(
    rows: int, dim: int, *, batch_size: int, num_negatives: int, num_steps: int, fsdp: int = 1
) -> Iterator[str]:
    """Lines for a person; the rows of the banks are split `fsdp` ways."""
    mesh = make_mesh(fsdp)
    check_batch_divides(batch_size, 1, mesh.size)
    one = Banks(rows, dim, batch_size, num_negatives, mesh)
    size = sum(bank.nbytes for bank in one.banks)
    yield f"devices      {mesh.size} x {jax.devices()[0].device_kind}"
    yield (
        f"banks        2 x {rows:,} x {dim} float32, {size / 2**30:.2f} GiB, split {fsdp} ways: "
        f"{one.bytes_of_a_device / 2**30:.2f} GiB a device"
    )
    seconds = seconds_in_turns({"update": one.update, "compare": one.compare}, num_steps)
    median = f"(median of {num_steps}, batch of {batch_size})"
    yield f"update       {1e3 * seconds['update']:.2f} ms of both {median}"
    yield (
        f"negatives    {1e3 * seconds['compare']:.2f} ms to draw {num_negatives} a row, gather them from both "
        f"and compare {median}"
    )
