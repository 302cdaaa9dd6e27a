"""Viewpoints of a 360-degree video: drawn, and cropped from equirectangular frames.

As in AVSA (Morgado, Li, Vasconcelos, NeurIPS 2020: `datasets/preprocessing.py`, `utils/nfov.py`). A
point of a frame is (x, y) in [0, 1]^2, from the upper left corner. Fields of view are fractions of
360 degrees across and of 180 degrees down.
"""

import math
from typing import NamedTuple

import numpy as np

CENTER_Y = (0.33, 0.66)
HORIZONTAL_FOV = (0.0707, 0.25)
ASPECT = (3 / 4, 4 / 3)
MIN_DISTANCE = 0.2
NUM_ATTEMPTS = 200


class Viewpoint(NamedTuple):
    x: float
    y: float
    horizontal_fov: float
    vertical_fov: float


class SamplingMap(NamedTuple):
    """Where each pixel of a crop lies: four pixels of the frame and their shares.

    `corners` are positions in the flattened frame, int [4, height, width]; `shares` add up to 1,
    float [4, height, width].
    """

    corners: np.ndarray
    shares: np.ndarray


def draw_viewpoints(
    random: np.random.Generator, num_viewpoints: int, *, min_distance: float = MIN_DISTANCE
) -> list[Viewpoint]:
    """Viewpoints by the paper's rules, their centres at least `min_distance` apart.

    Centre x uniform in [0, 1) and y in [0.33, 0.66); horizontal field of view uniform in
    [0.0707, 0.25), and the crop's height over its width log-uniform from 3/4 to 4/3.

    Departures: the released code draws until a centre is far enough, for ever if there is no room
    left; here the furthest of 200 attempts is taken then. It takes the height from the frame's shape
    in pixels, here a frame always spans 360 by 180 degrees.
    """
    viewpoints: list[Viewpoint] = []
    for _ in range(num_viewpoints):
        attempts = []
        for _ in range(NUM_ATTEMPTS):
            drawn = _draw(random)
            room = min((center_distance(drawn, other) for other in viewpoints), default=math.inf)
            attempts.append((room, drawn))
            if room > min_distance:
                break
        viewpoints.append(max(attempts)[1])
    return viewpoints


def _draw(random: np.random.Generator) -> Viewpoint:
    x, y = random.uniform(0, 1), random.uniform(*CENTER_Y)
    fov = random.uniform(*HORIZONTAL_FOV)
    aspect = math.exp(random.uniform(*np.log(ASPECT)))
    return Viewpoint(x, y, fov, 2 * fov * aspect)


def center_distance(first: Viewpoint, second: Viewpoint) -> float:
    """On the frame, which closes in x and is twice as wide as high."""
    across = abs(first.x - second.x) % 1
    return math.hypot(2 * min(across, 1 - across), first.y - second.y)


def sampling_map(
    viewpoint: Viewpoint,
    frame_size: tuple[int, int],
    crop_size: tuple[int, int],
    *,
    released_sampling: bool = False,
) -> SamplingMap:
    """The map from frames of [height, width] to a gnomonic crop, the same for all of a clip.

    The crop is a plane that touches the unit sphere at the viewpoint's centre and is 2 pi
    horizontal_fov wide there, as released: so the angle seen is 2 atan(pi horizontal_fov), 25.0
    degrees for 0.0707 and 76.3 for 0.25. Pixels between those of the frame are bilinear.

    `released_sampling` places pixels as the released code does: at their upper left corners, and the
    frame is first shifted by whole pixels. The view then lies up to a pixel off its centre, and
    mirrored crops are no mirror images. Never done as there: in the frame's last row, and opposite
    to the viewpoint, the released weights do not add up to 1; no view drawn above reaches there.
    """
    height, width = frame_size
    corner = 0.0 if released_sampling else 0.5
    down, across = (
        2 * (np.arange(num_pixels) + corner) / num_pixels - 1 for num_pixels in crop_size
    )
    plane_x = (math.pi * viewpoint.horizontal_fov * across)[None, :]
    plane_y = (math.pi / 2 * viewpoint.vertical_fov * down)[:, None]
    # Downwards, as y.
    latitude = (2 * viewpoint.y - 1) * math.pi / 2
    to_pole = math.sin(latitude) + plane_y * math.cos(latitude)
    row_angle = np.arcsin(np.clip(to_pole / np.sqrt(1 + plane_x**2 + plane_y**2), -1, 1))
    column_angle = np.arctan2(plane_x, math.cos(latitude) - plane_y * math.sin(latitude))

    shift = viewpoint.x * width
    if released_sampling:
        shift = int(shift - width // 2) + width / 2
    row = np.clip((row_angle / math.pi + 0.5) * height - corner, 0, height - 1)
    column = column_angle / (2 * math.pi) * width + shift - corner
    top, left = np.floor(row).astype(int), np.floor(column).astype(int)
    below, right = np.minimum(top + 1, height - 1), left + 1
    low, far = row - top, column - left
    corners = [
        y * width + x % width for y, x in ((top, left), (below, left), (top, right), (below, right))
    ]
    shares = [(1 - far) * (1 - low), (1 - far) * low, far * (1 - low), far * low]
    # float32 is twice as fast, but rounds a value in a hundred thousand to the next integer.
    dtype = np.float64 if released_sampling else np.float32
    return SamplingMap(np.stack(corners), np.stack(shares).astype(dtype))


def crop_frames(frames: np.ndarray, sampling: SamplingMap) -> np.ndarray:
    """uint8 [t, height, width, 3] -> uint8 [t, crop's height, crop's width, 3]"""
    pixels = frames.reshape(len(frames), -1, frames.shape[-1])
    crop = np.zeros(
        (len(frames), *sampling.corners.shape[1:], frames.shape[-1]), sampling.shares.dtype
    )
    for corner, share in zip(sampling.corners, sampling.shares, strict=True):
        crop += np.take(pixels, corner, axis=1) * share[..., None]
    return np.rint(crop).astype(np.uint8)
