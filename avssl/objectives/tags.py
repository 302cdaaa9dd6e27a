"""The tags of all records as memory: what objectives share that learn several classes a clip."""

import jax.numpy as jnp
from jax import Array

from avssl.errors import UsageError

# What is not known of a record's tags: nobody said, or the source ignores that class in it.
UNKNOWN = -1


def tags_as_memory(tags: Array, num_classes: int, config_key: str) -> Array:
    """int8 [records, num_classes] from a refresh with `refresh_tags`: 0, 1 or UNKNOWN."""
    if (lacking := num_classes - tags.shape[1]) < 0:
        raise UsageError(
            f"{config_key}.num_classes is {num_classes}, and the data has {tags.shape[1]}"
        )
    known = jnp.any(tags != UNKNOWN, axis=1, keepdims=True)
    if not jnp.any(known):
        raise UsageError(
            f"{config_key} learns tags, and nobody said of any clip of data.source which it has"
        )
    # A class that the data does not have is on no clip.
    blank = jnp.where(known, 0, UNKNOWN).astype(tags.dtype)
    return jnp.concatenate([tags, jnp.repeat(blank, lacking, axis=1)], axis=1)
