"""From a scene on the sphere to equirectangular frames.

Each object is drawn on the plane that touches the sphere at its heading and seen from the middle of
the sphere, so that it is bent as a camera for all directions would bend it.
"""

import math

import numpy as np

from avssl.world.directions import frame_shares, from_window, window_shares
from avssl.world.motion import Path
from avssl.world.render import (
    SOFT_EDGE_PIXELS,
    compose,
    draw_sprite,
    far_to_near,
    half_sides,
    outlines,
    read_sprite,
)
from avssl.world.scene import Background, Scene
from avssl.world.things import Thing


def between(knots: np.ndarray, size: int) -> np.ndarray:
    """[size, ...]: from the first of [k, ...] knots to the last, by linear interpolation."""
    places = np.linspace(0, len(knots) - 1, size)
    low = np.minimum(places.astype(int), len(knots) - 2)
    share = (places - low).astype(np.float32).reshape(-1, *[1] * (knots.ndim - 1))
    return knots[low] * (1 - share) + knots[low + 1] * share


def around(grid: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear enlargement without a seam; near the poles, what goes round fades to its mean."""
    closed = np.concatenate([grid, grid[:, :1]], axis=1).astype(np.float32)
    wide = between(closed.swapaxes(0, 1), width + 1)[:-1].swapaxes(0, 1)
    mean = wide.mean(axis=1, keepdims=True)
    latitude = ((np.arange(height, dtype=np.float32) + 0.5) / height - 0.5) * math.pi
    return between(mean, height) + between(wide - mean, height) * np.cos(latitude)[:, None, None]


def draw_surroundings(background: Background, height: int, width: int) -> np.ndarray:
    """float32 [height, width, 3] in 0..255."""
    return compose(
        background,
        around(background.colours, height, width),
        around(background.patches, height, width),
    )


def window_size(width: int) -> int:
    """Pixels of a window's side that are as fine as those of a frame, at the window's middle."""
    return round(width / math.pi)


def boxes_around(sprite: np.ndarray, path: Path, thing: Thing, size: int) -> np.ndarray:
    """float [n, 4]: x0, y0, x1, y1 in shares of the frame, within half a turn of the heading.

    Not brought back to 0..1, so that they do not jump where the frame begins anew.
    """
    assert thing.heading is not None
    x, y = outlines(sprite, thing, path, size)
    across, down = frame_shares(from_window(thing.heading, x / size, y / size))
    middle = (1 - thing.heading[0] / math.pi) / 2
    across = middle + (across - middle + 0.5) % 1 - 0.5
    return np.stack([across.min(1), down.min(1), across.max(1), down.max(1)], axis=1)


def paint(frames: np.ndarray, thing: Thing, frame_seconds: np.ndarray) -> np.ndarray:
    """Draws an object into float32 frames [n, h, w, 3], in place; gives its boxes."""
    assert thing.heading is not None
    height, width = frames.shape[1:3]
    size = window_size(width)
    sprite, path = draw_sprite(thing, size), thing.path(frame_seconds)
    half_width, half_height = half_sides(thing, path, size)
    boxes = boxes_around(sprite, path, thing, size)
    edges = boxes * (width, height, width, height)
    first, top = np.floor(edges[:, :2]).astype(int).T - SOFT_EDGE_PIXELS
    last, foot = np.ceil(edges[:, 2:]).astype(int).T + SOFT_EDGE_PIXELS
    # What the object ever covers is taken out at once and put back: its columns may go round.
    rows, columns = np.arange(top.min(), foot.max()), np.arange(first.min(), last.max())
    taken = frames[:, rows[0] : rows[-1] + 1].take(columns % width, axis=2)
    x, y = (size * shares for shares in window_shares(thing.heading, rows, columns, height, width))
    for i, patches in enumerate(taken):
        box = np.s_[
            top[i] - rows[0] : foot[i] - rows[0], first[i] - columns[0] : last[i] - columns[0]
        ]
        right = (x[box] - np.float32(path.x[i] * size)) / np.float32(half_width[i])
        down = (y[box] - np.float32(path.y[i] * size)) / np.float32(half_height[i])
        pixels = read_sprite(sprite, right, down, float(path.angle[i]))
        patch = patches[box]
        patch += (pixels[..., :3] - patch) * pixels[..., 3:]
    frames[:, rows[0] : rows[-1] + 1, columns % width] = taken
    return boxes - np.floor(boxes[:, :1]) * (1, 0, 1, 0)


def render_around(scene: Scene) -> tuple[np.ndarray, list[np.ndarray | None]]:
    """uint8 frames [n, h, w, 3] and the boxes of each object."""
    world, times = scene.world, scene.frame_seconds
    surroundings = draw_surroundings(scene.background, world.size, world.width)
    frames = np.repeat(surroundings[None], len(times), axis=0)
    boxes = {
        place: paint(frames, scene.things[place], times) for place in far_to_near(scene.things)
    }
    return frames.astype(np.uint8), [boxes[place] for place in range(len(scene.things))]
