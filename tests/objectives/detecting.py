"""Detectors and pictures with boxes, small enough for a test."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from avssl.models.detector import SmallDetectorAudio, SmallDetectorVideo
from avssl.models.features import Features

ROWS, SIZE = 6, 16
NARROW = {"widths": (4, 4, 4, 4), "pyramid_width": 4, "num_classes": 1, "levels": (2, 3)}
NUM_ANCHORS = 9 * (4 * 4 + 2 * 2)
POSITIONS = 4 * 4 + 2 * 2
# An anchor of the coarser level, in shares of the picture.
ANCHOR = (0.0, 0.0, 1.0, 1.0)


@functools.cache
def seen(seed=0, frames=1, **keys):
    """What a random detector says of random pictures."""
    pictures = jnp.asarray(
        np.random.default_rng(seed).normal(size=(ROWS, frames, SIZE, SIZE, 3)), jnp.float32
    )
    return said_by(SmallDetectorVideo(**(NARROW | keys)), pictures, seed)


@functools.cache
def heard(seed=0, **keys):
    sounds = jnp.asarray(np.random.default_rng(seed).normal(size=(ROWS, 12, 8, 2)), jnp.float32)
    encoder = SmallDetectorAudio(**(NARROW | {"height": SIZE, "width": SIZE} | keys))
    return said_by(encoder, sounds, seed)


def said_by(encoder, x, seed):
    @jax.jit
    def made(key, x):
        return encoder.apply(encoder.init(key, x, train=False), x, train=False)

    features = made(jax.random.key(seed), x)
    assert isinstance(features, Features)
    return features
