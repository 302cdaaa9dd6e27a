"""Mixup: rows of a training batch in pairs, each a weighted mean of both, with what is to be said of both.

Zhang et al. 2018 (arXiv 1710.09412): x = w x_i + (1 - w) x_j and the same of the targets, w drawn from
Beta(alpha, alpha). Row 2i is mixed with row 2i + 1 and the other way round, each by a weight of its own:
batches are shuffled, so the partner is any record, and nothing is read twice. A partner in the batch as in
the paper and in timm; pairs of rows with a weight each as in PANNs' released code (Kong et al. 2020), which
reads twice as many clips and keeps one mixture of each pair. AST (Gong et al. 2021) reads a second clip.

Waveforms and pixels are mixed, before all that an encoder or its front end does, as in AST and PSLA; PANNs
mixes log-mel spectrograms. A weight is a multiple of 1/4096, so that the mean is one of integers: the mixed
batch is the same to the bit in any mode, on any number of devices and in micro-batches, which split it later.
Teachers have answered by then, of each clip by itself.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key, Shaped

from avssl.config import ConfigDict
from avssl.errors import UsageError
from avssl.train.mesh import float_type
from avssl.train.model import Model, Variables, row_keys

# A weight of one.
WHOLE = 4096


@dataclasses.dataclass(frozen=True)
class Mixup:
    """alpha: of the Beta distribution; None is the same `weight` for all rows that are mixed.

    share: of the rows, of which each draws whether it is mixed at all.
    """

    alpha: float | None = None
    share: float = 1.0
    weight: float = 0.5


def mixup_of(config: ConfigDict, num_devices: int) -> Mixup | None:
    """That of a config; UsageError where the devices would tear its pairs apart."""
    alpha, share = config.data.get("mixup"), config.data.get("mixup_share")
    weight = config.data.get("mixup_weight")
    if alpha is None and weight is None:
        return None
    # On a mesh rows are of one global array.
    if config.parallel.mode == "pmap" and config.batch_size % (2 * num_devices):
        raise UsageError(
            f"mixup pairs the rows that a device holds with parallel.mode=pmap: batch_size must be a "
            f"multiple of {2 * num_devices} on {num_devices} devices, not {config.batch_size}"
        )
    return Mixup(alpha, 1.0 if share is None else share, 0.5 if weight is None else weight)


def mixed(
    model: Model, variables: Variables, batch: Any, key: Key[Array, ""], mixup: Mixup
) -> dict[str, Any]:
    """The batch with mixed views and a `mixture`.

    That has each row's own `share`, and of its partner `label`, `index` and the `boxes` that each teacher says.

    A row stays as it is, with a share of 1, if nobody said what is to be said of it or of its partner, or one
    of the two lacks a modality that the other has.
    """
    pairable = model.answered(variables, batch)
    for present in batch["present"].values():
        pairable &= present == swapped(present)
    weight = drawn_weights(mixup, row_keys(key, batch["row"]))
    weight = jnp.where(pairable & swapped(pairable), weight, WHOLE)
    return {
        **batch,
        "views": {name: blended(array, weight) for name, array in batch["views"].items()},
        "mixture": {
            "share": weight.astype(float_type(model.precision)) / WHOLE,
            "label": swapped(batch["label"]),
            "index": swapped(batch["index"]),
            "boxes": {
                name: swapped(kinds["boxes"])
                for name, kinds in batch.get("targets", {}).items()
                if "boxes" in kinds
            },
        },
    }


def swapped(array: Shaped[Array, "b *rest"]) -> Shaped[Array, "b *rest"]:
    """The partner of each row."""
    return array.reshape(-1, 2, *array.shape[1:])[:, ::-1].reshape(array.shape)


def drawn_weights(mixup: Mixup, keys: Key[Array, "b"]) -> Int[Array, "b"]:
    """In float32 whatever the precision of the run, so that all precisions see the same mixtures."""

    def of_row(key: Array) -> Array:
        of_weight, of_choice = jax.random.split(key)
        weight = jnp.float32(mixup.weight)
        if mixup.alpha is not None:
            weight = jax.random.beta(of_weight, mixup.alpha, mixup.alpha, dtype=jnp.float32)
        chosen = jax.random.uniform(of_choice, dtype=jnp.float32) < mixup.share
        return jnp.where(chosen, jnp.round(weight * WHOLE), WHOLE).astype(jnp.int32)

    return jax.vmap(of_row)(keys)


def blended(array: Int[Array, "b *rest"], weight: Int[Array, "b"]) -> Int[Array, "b *rest"]:
    """Each row with its partner, rounded to the numbers of its type."""
    own = weight.reshape(-1, *(1,) * (array.ndim - 1))
    wide = array.astype(jnp.int32)
    mean = wide * own + swapped(wide) * (WHOLE - own) + WHOLE // 2
    return (mean // WHOLE).astype(array.dtype)
