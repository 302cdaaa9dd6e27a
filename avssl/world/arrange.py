"""Where the objects of a scene stand to each other, in worlds that leave it not to chance."""

import dataclasses
import math

import numpy as np

from avssl.world.things import Thing

LEAST_GAP = math.radians(80)  # between neighbours on the sphere
HIGHEST_HEADING = math.radians(20)
DECIBELS_BETWEEN_HALVES = 6


def on_sphere(rng: np.random.Generator, things: list[Thing]) -> list[Thing]:
    """Each object in a window of its own, all round and up to 20 degrees off the horizon.

    Its motion, half as wide as in a flat picture, brings it to some 30 degrees at most.
    """
    spare = 2 * math.pi - len(things) * LEAST_GAP
    gaps = LEAST_GAP + spare * rng.dirichlet(np.ones(len(things)))
    azimuths = rng.permutation(rng.uniform(0, 2 * math.pi) + np.cumsum(gaps))
    placed = []
    for thing, azimuth in zip(things, azimuths, strict=True):
        phi = math.remainder(azimuth, 2 * math.pi)
        nu = float(rng.uniform(-HIGHEST_HEADING, HIGHEST_HEADING))
        stage = dataclasses.replace(thing.stage, x=0.5, y=0.5, reach=thing.stage.reach / 2)
        placed.append(dataclasses.replace(thing, stage=stage, heading=(phi, nu)))
    return placed


def in_halves(rng: np.random.Generator, things: list[Thing]) -> list[Thing]:
    """Two objects, one in each half of the picture and neither much louder than the other."""
    first, second = things
    spans = ((0.0, 0.5), (0.5, 1.0))
    left = int(rng.integers(2))
    decibels = rng.uniform(-DECIBELS_BETWEEN_HALVES, DECIBELS_BETWEEN_HALVES)
    as_loud = first.loudness * second.distance_metres / first.distance_metres
    return [
        dataclasses.replace(first, span=spans[left]),
        dataclasses.replace(second, span=spans[1 - left], loudness=as_loud * 10 ** (decibels / 20)),
    ]
