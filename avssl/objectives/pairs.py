"""Matched and mismatched pairs of a batch, for the objectives that ask "do these two belong together?"."""

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array


@struct.dataclass
class Pairs:
    """2 x batch pairs: rows to take from the video and from the audio outputs, and what they are."""

    video: Array
    audio: Array
    corresponds: Array
    usable: Array


def pairs_of_batch(key: Array, index: Array, complete: Array) -> Pairs:
    """Every clip with its own sound, and with the sound of the clip that is a drawn number of rows further.

    A turn by 1 .. batch - 1 rows gives each sound to exactly one other clip, so sound alone tells nothing about
    the answer. Clips of the same record (equal `index`) are no mismatch, and rows that lack a modality
    (`complete` False) are in no pair.
    """
    rows = jnp.arange(index.shape[0])
    turn = jax.random.randint(key, (), 1, max(index.shape[0], 2))
    other = (rows + turn) % index.shape[0]
    mismatched = complete & complete[other] & (index != index[other])
    return Pairs(
        video=jnp.concatenate([rows, rows]),
        audio=jnp.concatenate([rows, other]),
        corresponds=jnp.concatenate([jnp.ones_like(complete), jnp.zeros_like(complete)]),
        usable=jnp.concatenate([complete, mismatched]),
    )
