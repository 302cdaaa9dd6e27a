"""Surface patterns: how much of the object's second colour a point shows, from below 0 to above 1.

`inside` is the depth that `shapes` gives. `density` (about 1) and `phase` (0 to 1) vary from object
to object, so that a class is a family of patterns, not one picture. Edges are some tenths of a half
side wide: they survive a clip of 64 pixels.
"""

from collections.abc import Callable

import numpy as np

from avssl.world.vehicle_looks import VEHICLE_TEXTURES

Pattern = Callable[[np.ndarray, np.ndarray, np.ndarray, float, float], np.ndarray]

TURN = 2 * np.pi


def stripes(u, v, inside, density, phase):
    return 0.5 + 1.5 * np.sin(TURN * (1.6 * density * u + phase))


def checks(u, v, inside, density, phase):
    wave = np.pi * 1.9 * density
    return 0.5 + 3 * np.sin(wave * u + TURN * phase) * np.sin(wave * v + TURN * phase)


def dots(u, v, inside, density, phase):
    wave = TURN * 1.5 * density
    peaks = np.cos(wave * u + TURN * phase) + np.cos(wave * v + TURN * phase)
    return 0.5 + 1.5 * (peaks - 0.5)


def rings(u, v, inside, density, phase):
    return 0.5 + 1.5 * np.sin(TURN * (2.0 * density * np.hypot(u, v) + phase))


def rim(u, v, inside, density, phase):
    """Plain, with a border of the other colour."""
    return 0.5 + 6 * (0.2 / density - inside)


def spokes(u, v, inside, density, phase):
    return 0.5 + 2 * np.sin(round(6 * density) * np.arctan2(v, u) + TURN * phase)


def grid(u, v, inside, density, phase):
    """Thin lines that cross."""
    wave = TURN * 1.4 * density
    lines = np.maximum(np.cos(wave * u + TURN * phase), np.cos(wave * v + TURN * phase))
    return 0.5 + 3 * (lines - 0.75)


def zigzag(u, v, inside, density, phase):
    fold = np.abs((1.7 * density * u + phase) % 1 - 0.5)
    return 0.5 + 1.5 * np.sin(TURN * (1.9 * density * v + 1.1 * fold))


def blotches(u, v, inside, density, phase):
    """Irregular patches: three waves that never come back into step."""
    a = np.sin(TURN * density * (1.3 * u + 0.4 * v) + TURN * phase)
    b = np.sin(TURN * density * (-0.5 * u + 1.1 * v) + TURN * 2.3 * phase)
    c = np.sin(TURN * density * (0.9 * u - 1.4 * v) + TURN * 3.7 * phase)
    return 0.5 + 1.2 * (a + b + c)


def spiral(u, v, inside, density, phase):
    turned = np.arctan2(v, u) / TURN
    return 0.5 + 1.5 * np.sin(TURN * (1.8 * density * np.hypot(u, v) + 2 * turned + phase))


TEXTURES: dict[str, Pattern] = {
    "stripes": stripes,
    "checks": checks,
    "dots": dots,
    "rings": rings,
    "rim": rim,
    "spokes": spokes,
    "grid": grid,
    "zigzag": zigzag,
    "blotches": blotches,
    "spiral": spiral,
    **VEHICLE_TEXTURES,
}
