"""Silhouettes: how far inside its outline a point lies, in units of the object's half side.

Points (u, v) run over [-1, 1]; positive is inside. The values are distances near the outline only,
which is all that smooth edges need.
"""

from collections.abc import Callable

import numpy as np

from avssl.world.vehicle_looks import VEHICLE_SHAPES

Inside = Callable[[np.ndarray, np.ndarray], np.ndarray]


def disc(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return 0.95 - np.hypot(u, v)


def box(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return 0.8 - np.maximum(np.abs(u), np.abs(v))


def ring(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return 0.24 - np.abs(np.hypot(u, v) - 0.72)


def dome(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Half a disc on a broad foot."""
    half = np.minimum(0.95 - np.hypot(u, v - 0.35), 0.45 - v)
    foot = np.minimum(0.95 - np.abs(u), 0.14 - np.abs(v - 0.5))
    return np.maximum(half, foot)


def cross(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    a, b = np.abs(u), np.abs(v)
    return np.maximum(np.minimum(0.95 - a, 0.34 - b), np.minimum(0.34 - a, 0.95 - b))


def capsule(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return 0.38 - np.hypot(np.maximum(np.abs(u) - 0.57, 0), v)


def crescent(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.minimum(0.95 - np.hypot(u, v), np.hypot(u - 0.55, v) - 0.62)


def lens(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Where two discs meet: pointed at both ends."""
    return 1.15 - np.hypot(u, np.abs(v) + 0.65)


def star(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Five straight-edged points."""
    sector = np.pi / 5
    angle = np.abs((np.arctan2(u, -v) + sector) % (2 * sector) - sector)
    radius = np.hypot(u, v)
    # The edge runs from the tip (radius 1, angle 0) to the notch (radius 0.45, angle `sector`).
    notch_x, notch_y = 0.45 * np.cos(sector), 0.45 * np.sin(sector)
    x, y = radius * np.cos(angle), radius * np.sin(angle)
    return (notch_y * (1 - x) - (1 - notch_x) * y) / np.hypot(notch_y, 1 - notch_x)


def gear(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    teeth = np.clip(3 * np.sin(8 * np.arctan2(v, u)), -1, 1)
    radius = np.hypot(u, v)
    return np.minimum(0.8 + 0.15 * teeth - radius, radius - 0.2)


SHAPES: dict[str, Inside] = {
    "disc": disc,
    "box": box,
    "ring": ring,
    "dome": dome,
    "cross": cross,
    "capsule": capsule,
    "crescent": crescent,
    "lens": lens,
    "star": star,
    "gear": gear,
    **VEHICLE_SHAPES,
}
