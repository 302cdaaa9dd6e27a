"""Vehicles from the side: their silhouettes and what is glass or wheel on them.

Points (u, v) run over [-1, 1] in both directions whatever the vehicle's proportions are: v is
stretched by 1 / aspect, so that wheels are given as ellipses. As in `shapes`, positive is inside.
"""

import numpy as np


def _block(u, v, left, right, top, foot):
    """A rectangle, with distances along u."""
    across = np.minimum(u - left, right - u)
    return np.minimum(across, np.minimum(v - top, foot - v))


def _wheel(u, v, at, half_width, half_height, foot=0.95):
    return half_width * (
        1 - np.hypot((u - at) / half_width, (v - foot + half_height) / half_height)
    )


def _slanted(u, v, left, right, top, foot, slant):
    """A rectangle that narrows towards its top by `slant` on either side."""
    rise = (foot - v) / (foot - top)
    across = np.minimum(u - left - slant * rise, right - slant * rise - u)
    return np.minimum(across, np.minimum(v - top, foot - v))


def car(u, v):
    body = _block(u, v, -0.95, 0.95, -0.1, 0.65)
    cabin = _slanted(u, v, -0.62, 0.55, -0.95, 0.0, 0.2)
    wheels = np.maximum(_wheel(u, v, -0.57, 0.17, 0.45), _wheel(u, v, 0.57, 0.17, 0.45))
    return np.maximum(np.maximum(body, cabin), wheels)


def van(u, v):
    body = np.maximum(_block(u, v, -0.95, 0.45, -0.95, 0.7), _block(u, v, 0.4, 0.95, -0.1, 0.7))
    cabin = _slanted(u, v, 0.2, 0.85, -0.9, 0.0, 0.3)
    wheels = np.maximum(_wheel(u, v, -0.6, 0.16, 0.36), _wheel(u, v, 0.6, 0.16, 0.36))
    return np.maximum(np.maximum(body, cabin), wheels)


def bus(u, v):
    body = _block(u, v, -0.95, 0.95, -0.95, 0.72)
    wheels = np.maximum(_wheel(u, v, -0.62, 0.12, 0.3), _wheel(u, v, 0.55, 0.12, 0.3))
    return np.maximum(body, wheels)


def motorcycle(u, v):
    wheels = np.maximum(_wheel(u, v, -0.58, 0.37, 0.48), _wheel(u, v, 0.58, 0.37, 0.48))
    frame = _slanted(u, v, -0.6, 0.6, 0.0, 0.6, 0.15)
    rider = _slanted(u, v, -0.35, 0.3, -0.6, 0.15, 0.1)
    head = 0.22 * (1 - np.hypot((u - 0.05) / 0.22, (v + 0.68) / 0.27))
    return np.maximum(np.maximum(wheels, frame), np.maximum(rider, head))


def tractor(u, v):
    wheels = np.maximum(_wheel(u, v, -0.45, 0.5, 0.66), _wheel(u, v, 0.66, 0.29, 0.38))
    bonnet = _block(u, v, -0.2, 0.9, -0.15, 0.5)
    cabin = _block(u, v, -0.6, 0.1, -0.95, 0.3)
    chimney = _block(u, v, 0.55, 0.66, -0.7, 0.0)
    return np.maximum(np.maximum(wheels, bonnet), np.maximum(cabin, chimney))


def _shown(inside):
    """The share of the second colour: whole where `inside` is positive, with a soft edge."""
    return 0.5 + 12 * inside


def saloon(u, v, inside, density, phase):
    glass = _slanted(u, v, -0.5, 0.43, -0.8, -0.12, 0.18)
    post = np.abs(u + 0.03) - 0.05
    wheels = np.maximum(_wheel(u, v, -0.57, 0.17, 0.45), _wheel(u, v, 0.57, 0.17, 0.45))
    return _shown(np.maximum(np.minimum(glass, post), wheels))


def cab(u, v, inside, density, phase):
    glass = _slanted(u, v, 0.4, 0.78, -0.72, -0.1, 0.2)
    wheels = np.maximum(_wheel(u, v, -0.6, 0.16, 0.36), _wheel(u, v, 0.6, 0.16, 0.36))
    return _shown(np.maximum(glass, wheels))


def windows(u, v, inside, density, phase):
    row = np.minimum(np.minimum(v + 0.72, 0.02 - v), 0.88 - np.abs(u))
    posts = np.abs((u / 0.36 + 0.5) % 1 - 0.5) * 0.36 - 0.035
    wheels = np.maximum(_wheel(u, v, -0.62, 0.12, 0.3), _wheel(u, v, 0.55, 0.12, 0.3))
    return _shown(np.maximum(np.minimum(row, posts), wheels))


def saddle(u, v, inside, density, phase):
    wheels = np.maximum(_wheel(u, v, -0.58, 0.37, 0.48), _wheel(u, v, 0.58, 0.37, 0.48))
    spokes = np.maximum(_wheel(u, v, -0.58, 0.2, 0.26, 0.73), _wheel(u, v, 0.58, 0.2, 0.26, 0.73))
    rider = 0.1 - v
    return _shown(np.maximum(np.minimum(wheels, -spokes), rider))


def cabin(u, v, inside, density, phase):
    glass = _block(u, v, -0.48, -0.02, -0.8, -0.2)
    wheels = np.maximum(
        np.minimum(_wheel(u, v, -0.45, 0.5, 0.66), -_wheel(u, v, -0.45, 0.2, 0.26, 0.55)),
        _wheel(u, v, 0.66, 0.29, 0.38),
    )
    return _shown(np.maximum(glass, wheels))


VEHICLE_SHAPES = {
    "car": car,
    "van": van,
    "bus": bus,
    "motorcycle": motorcycle,
    "tractor": tractor,
}
VEHICLE_TEXTURES = {
    "saloon": saloon,
    "cab": cab,
    "windows": windows,
    "saddle": saddle,
    "cabin": cabin,
}
