"""Depth and thermal pictures: further channels that are painted together with the RGB ones.

A layer is red, green, blue and, where other eyes look too, the logarithm of the depth in metres and
the warmth from 0 to 1. What is painted once for all of them has one outline in all.
"""

import math

import numpy as np

from avssl.world.registry import World
from avssl.world.things import Thing

# Black and white of the depth picture: near is bright.
NEAREST_METRES, FARTHEST_METRES = 0.4, 25.0
WARM = (0.65, 0.95)
COOL = (0.3, 0.45)  # a little warmer than most surroundings
PURPOSE = 1  # of the draws from an object's own seed


def draws_of(thing: Thing) -> np.random.Generator:
    return np.random.default_rng([thing.seed, PURPOSE])


def senses_of(thing: Thing) -> tuple[float, float]:
    """(log depth, warmth): what sounds is warm."""
    warmth = draws_of(thing).uniform(*(WARM if thing.sounds else COOL))
    return math.log(thing.distance_metres), float(warmth)


def with_senses(sprite: np.ndarray, thing: Thing) -> np.ndarray:
    """float32 [s, s, 6] from [s, s, 4]: colour, depth, warmth, and opacity last."""
    senses = np.full((*sprite.shape[:2], 2), senses_of(thing), np.float32)
    return np.concatenate([sprite[..., :3], senses, sprite[..., 3:]], axis=-1)


def seen(layers: np.ndarray, world: World) -> dict[str, np.ndarray]:
    """uint8 pictures [n, h, w, 3] by the name of the eye, from layers [n, h, w, 5]."""
    span = math.log(FARTHEST_METRES / NEAREST_METRES)
    pictures = {}
    for eye in world.eyes:
        if eye == "depth":
            grey = (math.log(FARTHEST_METRES) - layers[..., 3]) * np.float32(255 / span)
        else:
            grey = layers[..., 4] * np.float32(255)
        grey = np.clip(grey, 0, 255).astype(np.uint8)
        pictures[eye] = np.repeat(grey[..., None], 3, axis=-1)
    return pictures
