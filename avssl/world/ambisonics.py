"""First-order ambisonics: channels W, Y, Z, X (ACN) with SN3D weights, as AVSA's data has them."""

import numpy as np

# A diffuse field, normalised as SN3D: the three figures of eight have a third of W's power each.
DIFFUSE_WEIGHTS = np.array([1, 3**-0.5, 3**-0.5, 3**-0.5], np.float32)


def plane_wave(sound: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """float32 [4, m]: mono `sound` [m] from unit vectors [3, m] (front, left, up)."""
    front, left, up = directions
    return np.stack([sound, left * sound, up * sound, front * sound])
