"""From a scene to flat frames, and to the box of each object in each of them."""

import math
from collections.abc import Sequence

import numpy as np

from avssl.world.eyes import seen, with_senses
from avssl.world.faces import paint_person
from avssl.world.motion import Path
from avssl.world.passing import Vehicle, where_seen
from avssl.world.persons import Person
from avssl.world.scene import Background, Scene
from avssl.world.setting import depth_of_rows
from avssl.world.shapes import SHAPES
from avssl.world.textures import TEXTURES
from avssl.world.things import Thing
from avssl.world.weather import under

# A sprite is drawn once per object, this many times finer than the frame, and read without
# interpolation: its own edges are already as soft as a frame's pixel.
OVERSAMPLING = 3
SOFT_EDGE_PIXELS = 3  # how far an object's fading edge may reach beyond its box
REACH = 1.1  # a sprite covers [-REACH, REACH] half sides; its border is transparent


def stretch(grid: np.ndarray, size: int) -> np.ndarray:
    """Bilinear enlargement of [g, g, c] to [size, size, c]."""
    knots = np.arange(len(grid))
    places = np.linspace(0, len(grid) - 1, size)
    weights = np.maximum(0, 1 - np.abs(places[:, None] - knots[None]))
    return np.einsum("yi,xj,ijc->yxc", weights, weights, grid, optimize=True)


def compose(background: Background, colours: np.ndarray, patches: np.ndarray) -> np.ndarray:
    """float32 [h, w, 3] in 0..255 from the colours and patches of its pixels."""
    height = len(colours)
    rows = (np.arange(height) + 0.5) / height
    floor = np.clip((rows - background.horizon) * height / 2, 0, 1)[:, None, None] * 0.6
    frame = colours * (1 - floor) + background.floor_colour * floor
    return np.clip(frame + patches, 0, 255).astype(np.float32)


def draw_background(background: Background, size: int) -> np.ndarray:
    """float32 [size, size, 3] in 0..255."""
    return compose(background, stretch(background.colours, size), stretch(background.patches, size))


def draw_sprite(thing: Thing, size: int) -> np.ndarray:
    """float32 [s, s, 4]: colour in 0..255 and opacity in 0..1, at the object's own orientation."""
    pixels = thing.size * size
    side = math.ceil(OVERSAMPLING * REACH * pixels)
    line = np.linspace(-REACH, REACH, side, dtype=np.float32)
    u, v = np.meshgrid(line, line)
    v = v / np.float32(thing.aspect)
    inside = SHAPES[thing.kind.shape](u, v)
    opacity = np.clip(0.5 + inside * pixels / 2, 0, 1)
    mix = TEXTURES[thing.kind.texture](u, v, inside, thing.density, thing.phase)
    mix = np.clip(mix, 0, 1)[..., None]
    colour = thing.colours[0] * (1 - mix) + thing.colours[1] * mix
    sprite = np.concatenate([colour, opacity[..., None]], axis=-1).astype(np.float32)
    sprite[[0, -1]] = sprite[:, [0, -1]] = 0
    return sprite


def read_sprite(
    sprite: np.ndarray, right: np.ndarray, down: np.ndarray, angle: float
) -> np.ndarray:
    """float32 [..., c] at points of the frame in half sides, of a sprite turned by `angle`."""
    side = len(sprite)
    centre, unit = (side - 1) / 2, (side - 1) / 2 / REACH
    cos, sin = math.cos(angle) * unit, math.sin(angle) * unit
    column = (cos * right + (sin * down + (centre + 0.5))).astype(np.int32)
    row = (-sin * right + (cos * down + (centre + 0.5))).astype(np.int32)
    np.clip(column, 0, side - 1, out=column)
    np.clip(row, 0, side - 1, out=row)
    row *= side
    row += column
    return sprite.reshape(-1, sprite.shape[-1]).take(row, axis=0)


def paste(
    frame: np.ndarray,
    sprite: np.ndarray,
    box: np.ndarray,
    centre_pixels: tuple[float, float],
    half_pixels: tuple[float, float],
    angle: float,
) -> None:
    """Blends the sprite into `frame` (float32, changed in place), inside its box (in shares).

    The last channel of the sprite is its opacity, the others are those of the frame.
    """
    size = len(frame)
    x0, y0 = (max(0, math.floor(low * size) - SOFT_EDGE_PIXELS) for low in box[:2])
    x1, y1 = (min(size, math.ceil(high * size) + SOFT_EDGE_PIXELS) for high in box[2:])
    (x, y), half = centre_pixels, half_pixels
    right = ((np.arange(x0, x1, dtype=np.float32) + 0.5 - x) / half[0])[None, :]
    down = ((np.arange(y0, y1, dtype=np.float32) + 0.5 - y) / half[1])[:, None]
    pixels = read_sprite(sprite, right, down, angle)
    patch = frame[y0:y1, x0:x1]
    patch += (pixels[..., :-1] - patch) * pixels[..., -1:]


def half_sides(thing: Thing, path: Path, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Half width and half height in pixels: a squash flattens the object and widens it."""
    half = thing.size * size / 2 * path.scale
    return half * (2 - path.squash), half * path.squash


def outline(sprite: np.ndarray) -> np.ndarray:
    """[2, k]: first and last opaque point of each row of the sprite, in half sides."""
    opaque = sprite[..., -1] >= 0.5
    rows = np.flatnonzero(opaque.any(axis=1))
    first = opaque[rows].argmax(axis=1)
    last = opaque.shape[1] - 1 - opaque[rows, ::-1].argmax(axis=1)
    points = np.stack([np.concatenate([first, last]), np.concatenate([rows, rows])])
    return (points / (len(sprite) - 1) * 2 - 1) * REACH


def outlines(
    sprite: np.ndarray, thing: Thing, path: Path, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """[n, k] each: x and y (pixels) of the points of the outline in each frame."""
    half_width, half_height = half_sides(thing, path, size)
    u, v = outline(sprite)
    cos, sin = np.cos(path.angle)[:, None], np.sin(path.angle)[:, None]
    x = path.x[:, None] * size + (cos * u - sin * v) * half_width[:, None]
    y = path.y[:, None] * size + (sin * u + cos * v) * half_height[:, None]
    return x, y


def boxes_of(sprite: np.ndarray, thing: Thing, path: Path, size: int) -> np.ndarray:
    """float [n, 4]: x0, y0, x1, y1 in shares of the frame, whatever hides the object."""
    x, y = outlines(sprite, thing, path, size)
    box = np.stack([x.min(1), y.min(1), x.max(1), y.max(1)], axis=1) / size
    return np.clip(box, 0, 1)


def far_to_near(things: Sequence[Thing]) -> list[int]:
    return sorted(range(len(things)), key=lambda place: -things[place].distance_metres)


def draw_surroundings(scene: Scene) -> np.ndarray:
    """float32 [size, size, c]: red, green, blue and, for other eyes, depth and warmth."""
    size, background, setting = scene.world.size, scene.background, scene.setting
    picture = draw_background(background, size)
    if setting is None:
        return picture
    metres = depth_of_rows(setting, background.horizon, size)[..., None]
    depth = np.broadcast_to(np.log(metres), (size, size, 1))
    layers = [picture, depth, stretch(setting.warmth, size)]
    return np.concatenate(layers, axis=-1).astype(np.float32)


def paint(layers: np.ndarray, thing: Thing, frame_seconds: np.ndarray) -> np.ndarray:
    """Draws an object into float32 layers [n, h, w, c], in place; gives its boxes."""
    size = layers.shape[1]
    path, sprite = thing.path(frame_seconds), draw_sprite(thing, size)
    if layers.shape[-1] > 3:
        sprite = with_senses(sprite, thing)
    half_width, half_height = half_sides(thing, path, size)
    boxes = boxes_of(sprite, thing, path, size)
    for i, frame in enumerate(layers):
        centre = (float(path.x[i] * size), float(path.y[i] * size))
        half = (float(half_width[i]), float(half_height[i]))
        paste(frame, sprite, boxes[i], centre, half, float(path.angle[i]))
    if isinstance(thing, Vehicle):
        x, y = outlines(sprite, thing, path, size)
        boxes[~where_seen(boxes * size, x, y)] = np.nan
    return boxes


def render_eyes(scene: Scene) -> tuple[dict[str, np.ndarray], list[np.ndarray | None]]:
    """uint8 frames [n, h, w, 3] by the eye that sees them, and the boxes of each object.

    The RGB picture has the name "". Boxes are None for an object beside the picture, and NaN in the
    frames that a vehicle is not in.
    """
    times, weather = scene.frame_seconds, scene.weather
    layers = np.repeat(draw_surroundings(scene)[None], len(times), axis=0)
    boxes: dict[int, np.ndarray] = {}
    for place in far_to_near(scene.things):
        thing = scene.things[place]
        if thing.visible:
            if isinstance(thing, Person):
                boxes[place] = paint_person(layers, thing, times)
            else:
                boxes[place] = paint(layers, thing, times)
    rgb = layers[..., :3] if weather is None else under(weather, layers)
    pictures = {"": rgb.astype(np.uint8), **seen(layers, scene.world)}
    return pictures, [boxes.get(place) for place in range(len(scene.things))]
