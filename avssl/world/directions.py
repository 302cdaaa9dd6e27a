"""Directions on the sphere, as ambisonics and equirectangular pictures count them.

Axes are front, left and up. phi (azimuth) is 0 in front and grows to the left, nu (elevation) grows
upwards: a point at shares (x, y) of the frame lies at phi = (1 - 2x) pi, nu = (1 - 2y) pi / 2.
"""

import math

import numpy as np

from avssl.world.motion import Path
from avssl.world.things import FIELD_OF_VIEW, Thing

EDGE = math.tan(FIELD_OF_VIEW / 2)  # of an object's window, on the plane that touches the sphere


def window_axes(heading: tuple[float, float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit vectors of an upright window: to its middle, to its left and upwards in it."""
    phi, nu = heading
    ahead = np.array([math.cos(nu) * math.cos(phi), math.cos(nu) * math.sin(phi), math.sin(nu)])
    left = np.array([-math.sin(phi), math.cos(phi), 0.0])
    up = np.array([-math.sin(nu) * math.cos(phi), -math.sin(nu) * math.sin(phi), math.cos(nu)])
    return ahead, left, up


def from_window(heading: tuple[float, float], x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """[..., 3]: unit vectors to the points (x, y) (shares) of the window at `heading`."""
    ahead, left, up = window_axes(heading)
    aside, above = EDGE * (1 - 2 * x)[..., None], EDGE * (1 - 2 * y)[..., None]
    vectors = ahead + aside * left + above * up
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def directions(thing: Thing, path: Path) -> np.ndarray:
    """[n, 3]: unit vectors to an object's centre."""
    assert thing.heading is not None
    return from_window(thing.heading, path.x, path.y)


def angles(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """phi in (-pi, pi] and nu in [-pi / 2, pi / 2], of unit vectors."""
    phi = np.arctan2(vectors[..., 1], vectors[..., 0])
    return phi, np.arcsin(np.clip(vectors[..., 2], -1, 1))


def frame_shares(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(x, y) on the equirectangular frame."""
    phi, nu = angles(vectors)
    return (1 - phi / math.pi) / 2, (1 - 2 * nu / math.pi) / 2


def window_shares(
    heading: tuple[float, float], rows: np.ndarray, columns: np.ndarray, height: int, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """float32 [rows, columns] each: where pixels of a frame lie in a window (shares).

    They must be less than a right angle away from the heading.
    """
    phi, nu = heading
    beside = (1 - 2 * (columns + 0.5) / width) * math.pi - phi
    above = ((1 - 2 * (rows + 0.5) / height) * math.pi / 2)[:, None]
    ahead = np.cos(above) * math.cos(nu) * np.cos(beside) + np.sin(above) * math.sin(nu)
    left = np.cos(above) * np.sin(beside)
    up = np.sin(above) * math.cos(nu) - np.cos(above) * math.sin(nu) * np.cos(beside)
    x, y = (1 - left / ahead / EDGE) / 2, (1 - up / ahead / EDGE) / 2
    return x.astype(np.float32), y.astype(np.float32)
