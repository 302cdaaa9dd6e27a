"""Matched and mismatched pairs of a batch, for the objectives that ask "do these two belong together?"."""

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array


@struct.dataclass
class Pairs:
    """Rows to take from the video and from the audio outputs, what they are, and what each pair weighs."""

    video: Array
    audio: Array
    corresponds: Array
    usable: Array
    weight: Array


def pairs_of_batch(
    key: Array, index: Array, complete: Array, *, all_negatives: bool = False
) -> Pairs:
    """Every clip with its own sound, and with the sound of the clip that is a drawn number of rows further.

    A turn by 1 .. batch - 1 rows gives each sound to exactly one other clip, so sound alone tells nothing about
    the answer. `all_negatives` takes every such turn: batch - 1 mismatches for each clip, which together weigh
    as much as its match. Clips of the same record (equal `index`) are no mismatch, and rows that lack a
    modality (`complete` False) are in no pair; all mismatches that are left weigh alike, together as much as
    all matches.
    """
    num_rows = index.shape[0]
    if all_negatives:
        turns = jnp.arange(1, max(num_rows, 2))
    else:
        turns = jax.random.randint(key, (1,), 1, max(num_rows, 2))
    rows = jnp.arange(num_rows)
    video = jnp.tile(rows, len(turns))
    audio = ((rows[None] + turns[:, None]) % num_rows).ravel()
    mismatched = complete[video] & complete[audio] & (index[video] != index[audio])
    matches = jnp.ones(num_rows)
    num_matches, num_mismatches = (
        jnp.sum(usable.astype(matches.dtype)) for usable in (complete, mismatched)
    )
    mismatch_weight = num_matches / jnp.maximum(num_mismatches, 1.0)
    return Pairs(
        video=jnp.concatenate([rows, video]),
        audio=jnp.concatenate([rows, audio]),
        corresponds=jnp.concatenate([jnp.ones_like(complete), jnp.zeros_like(mismatched)]),
        usable=jnp.concatenate([complete, mismatched]),
        weight=jnp.concatenate([matches, jnp.full(len(video), mismatch_weight)]),
    )
