"""Drawing a person: head, hair and features, turned and lit as the clip's pose says."""

import dataclasses
import functools

import numpy as np

from avssl.world.eyes import senses_of
from avssl.world.persons import Look, Person

INK = np.array([25, 25, 30])
SHOULDERS = 1.35  # half width, in half heights of the head
# How far the front of the face stands out of the axis it turns about: in half widths of the head
# when it turns aside, in half heights when it nods.
FRONT, NOD = 0.75, 0.35


def paint_person(layers: np.ndarray, person: Person, frame_seconds: np.ndarray) -> np.ndarray:
    """Draws into float32 layers [n, h, w, c], in place; gives the boxes [n, 4] of head and hair."""
    size, path = layers.shape[1], person.path(frame_seconds)
    half = person.size * size / 2
    x, y = path.x * size, path.y * size
    left, right = span(x, 1.45 * half, size)
    top = span(y, 1.45 * half, size)[0]
    canvas = Canvas(
        layers=layers[:, top:, left:right],
        right=((np.arange(left, right) + 0.5 - x[:, None]) / half)[:, None].astype(np.float32),
        down=((np.arange(top, size) + 0.5 - y[:, None]) / half)[..., None].astype(np.float32),
        angle=path.angle.astype(np.float32)[:, None, None],
        half_pixels=half,
        light=person.pose.light.astype(np.float32),
        side_light=person.pose.side_light,
    )
    swing = person.pose.sway * np.sin(2 * np.pi * frame_seconds / person.drift_seconds)
    face = Face(
        canvas,
        person.identity.look,
        aside=np.sin(person.pose.yaw + swing).astype(np.float32),
        narrow=np.cos(person.pose.yaw + swing).astype(np.float32),
        nod=np.sin(person.pose.pitch + swing[::-1] / 2).astype(np.float32),
        opening=person.openness(frame_seconds).astype(np.float32)[:, None, None],
    )
    covered = face.draw(person)
    return boxes_of(covered, left, top, size)


def span(middle: np.ndarray, reach: float, size: int) -> tuple[int, int]:
    """First and last pixel of what is never farther than `reach` from its middle."""
    low, high = np.floor(middle.min() - reach), np.ceil(middle.max() + reach)
    return max(0, min(int(low), size - 1)), min(size, max(int(high), 1))


def boxes_of(covered: np.ndarray, left: int, top: int, size: int) -> np.ndarray:
    """float [n, 4], of what is at least half covered in opacity [n, h, w]."""
    opaque = covered >= 0.5
    ends = []
    for axis, first in ((1, left), (2, top)):
        line = opaque.max(axis=axis)
        ends.append(first + line.argmax(axis=1))
        ends.append(first + line.shape[1] - line[:, ::-1].argmax(axis=1))
    return np.stack([ends[0], ends[2], ends[1], ends[3]], axis=1) / size


@dataclasses.dataclass
class Canvas:
    """A window of all frames, and where its pixels lie from the head's middle, in half heights.

    `right` is [n, 1, w] and `down` [n, h, 1]; u and v are the same for a head turned by `angle`.
    """

    layers: np.ndarray
    right: np.ndarray
    down: np.ndarray
    angle: np.ndarray
    half_pixels: float
    light: np.ndarray
    side_light: float

    @functools.cached_property
    def u(self) -> np.ndarray:
        return np.cos(self.angle) * self.right + np.sin(self.angle) * self.down

    @functools.cached_property
    def v(self) -> np.ndarray:
        return np.cos(self.angle) * self.down - np.sin(self.angle) * self.right

    @functools.cached_property
    def shade(self) -> np.ndarray:
        return 1 + np.float32(self.side_light) * np.clip(self.u, -1, 1)

    def around(self, u: np.ndarray, v: np.ndarray, reach: float) -> "Canvas":
        """The part of the canvas that lies within `reach` of a point that moves, u and v [n]."""
        cos, sin = np.cos(self.angle[:, 0, 0]), np.sin(self.angle[:, 0, 0])
        columns, rows = self.right[:, 0], self.down[:, :, 0]
        windows = []
        for place, line in ((cos * u - sin * v, columns), (sin * u + cos * v, rows)):
            near = (np.abs(line - place[:, None]) <= reach).any(axis=0)
            ends = np.flatnonzero(near)
            windows.append(slice(ends[0], ends[-1] + 1) if len(ends) else slice(0, 1))
        across, along = windows
        return dataclasses.replace(
            self,
            layers=self.layers[:, along, across],
            right=self.right[:, :, across],
            down=self.down[:, along],
        )

    def soft(self, inside: np.ndarray) -> np.ndarray:
        """Opacity of what is positive inside (in half heights), with an edge of one pixel."""
        return np.clip(0.5 + inside * np.float32(self.half_pixels), 0, 1)

    def add(self, colour, opacity: np.ndarray) -> None:
        for channel in range(3):
            lit = np.minimum(np.float32(colour[channel]) * self.light[channel] * self.shade, 255)
            plane = self.layers[..., channel]
            plane += (lit - plane) * opacity


def ellipse(u: np.ndarray, v: np.ndarray, across: float, down: float) -> np.ndarray:
    """How far inside: exact at the ends of the axes."""
    return (1 - np.hypot(u / np.float32(across), v / np.float32(down))) * min(across, down)


@dataclasses.dataclass
class Face:
    """A look on a canvas. `aside`, `narrow` and `nod` [n] say how the head is turned."""

    canvas: Canvas
    look: Look
    aside: np.ndarray
    narrow: np.ndarray
    nod: np.ndarray
    opening: np.ndarray

    def feature(
        self, u: float, v: float, reach: float, out: float = 1.0
    ) -> tuple[Canvas, np.ndarray, np.ndarray]:
        """A canvas around the feature at (u, v) of the face, and its pixels as seen from there.

        Features lie on the front of a head that turns: they move aside, and the more so the
        farther they stand `out`.
        """
        middle = u * self.narrow + out * FRONT * self.look.head_width * self.aside
        row = v + out * NOD * self.nod
        part = self.canvas.around(middle, row, reach)
        narrow = self.narrow[:, None, None]
        return part, (part.u - middle[:, None, None]) / narrow, part.v - row[:, None, None]

    def draw(self, person: Person) -> np.ndarray:
        """Gives the opacity [n, h, w] of head and hair."""
        canvas, look = self.canvas, self.look
        u, v = canvas.u, canvas.v
        head, hair, fringe = self.silhouettes(u, v)
        throat = np.minimum(0.45 * look.head_width - np.abs(u), np.minimum(v - 0.6, 1.25 - v))
        # Upright whatever the head does.
        slope = canvas.down - 1.12 - 0.25 * np.square(canvas.right)
        body = canvas.soft(np.minimum(slope, SHOULDERS - np.abs(canvas.right)))
        neck = canvas.soft(throat)
        canvas.add(person.pose.clothes, body)
        canvas.add(look.hair, hair)
        canvas.add(0.8 * look.skin, neck)
        canvas.add(look.skin, head)
        if look.beard:
            self.draw_beard(u, v)
        for mole in look.moles.tolist():
            part, a, b = self.feature(*mole, reach=0.08)
            part.add(0.4 * look.skin, part.soft(ellipse(a, b, 0.04, 0.04)) * self.on_head(part))
        self.draw_eyes()
        self.draw_nose()
        self.draw_mouth()
        canvas.add(look.hair, fringe)
        covered = np.maximum(np.maximum(head, hair), fringe)
        if canvas.layers.shape[-1] > 3:
            depth, warmth = senses_of(person)
            bare = np.maximum(head, neck) * (1 - fringe)
            opacity = np.maximum(covered, np.maximum(body, neck))
            for plane, value in ((3, np.float32(depth)), (4, warmth * (0.55 + 0.45 * bare))):
                layer = canvas.layers[..., plane]
                layer += (value - layer) * opacity
        return covered

    def head_inside(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """A half ellipse above; below, a curve whose power makes the jaw square."""
        across = np.abs(u) / np.float32(self.look.head_width)
        power = np.float32(self.look.head_power)
        skull = 1 - np.hypot(across, v)
        jaw = (1 - across**power - np.abs(v) ** power) / power
        return np.where(v > 0, jaw, skull) * np.float32(self.look.head_width)

    def on_head(self, part: Canvas) -> np.ndarray:
        return part.soft(self.head_inside(part.u, part.v))

    def silhouettes(self, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, ...]:
        """Opacities of the head, of the hair behind it and of the hair over the forehead."""
        look, soft = self.look, self.canvas.soft
        volume = look.hair_volume
        around = ellipse(u, np.minimum(v, 0), look.head_width * volume, volume)
        head, hair = soft(self.head_inside(u, v)), soft(np.minimum(around, look.hair_length - v))
        line = look.hair_line + NOD * self.nod[:, None, None]
        parting = look.parting * look.head_width + 0.3 * self.aside[:, None, None]
        arch = line + 0.12 - 0.5 * np.square(u - parting)
        return head, hair, soft(arch - v) * np.maximum(head, hair)

    def draw_beard(self, u: np.ndarray, v: np.ndarray) -> None:
        row = self.look.mouth_row + NOD * self.nod[:, None, None]
        middle = FRONT * self.look.head_width * self.aside[:, None, None]
        below = v - row + 0.04 - 0.3 * np.abs(u - middle)
        covered = np.minimum(below, self.head_inside(u, v))
        self.canvas.add(self.look.hair, self.canvas.soft(covered))

    def draw_eyes(self) -> None:
        look = self.look
        eye = look.eye_size
        for side in (-1, 1):
            part, u, v = self.feature(side * look.eye_gap, look.eye_row, reach=3 * eye)
            on_head = self.on_head(part)
            white = part.soft(ellipse(u, v, 1.35 * eye, 0.75 * eye)) * on_head
            part.add((235, 235, 235), white)
            part.add(look.iris, part.soft(ellipse(u, v, 0.6 * eye, 0.65 * eye)) * white)
            brow = np.abs(v + 1.9 * eye - look.brow_tilt * side * u)
            bar = np.minimum(look.brow_thickness - brow, 1.5 * eye - np.abs(u))
            part.add(0.7 * look.hair, part.soft(bar) * on_head)
            if look.glasses:
                part.add(INK, part.soft(0.025 - np.abs(np.hypot(u, v) - 1.9 * eye)))
        if look.glasses:
            part, u, v = self.feature(0, look.eye_row, reach=look.eye_gap)
            between = look.eye_gap - 1.85 * eye - np.abs(u)
            part.add(INK, part.soft(np.minimum(between, 0.025 - np.abs(v))))

    def draw_nose(self) -> None:
        look = self.look
        length = look.nose_length
        part, u, v = self.feature(0, look.eye_row + length, reach=length + 0.15, out=1.25)
        slope = look.nose_width * (0.35 + 0.65 * (v + length) / length)
        nose = np.minimum(slope - np.abs(u), np.minimum(v + length, 0.05 - v))
        part.add(0.78 * look.skin, 0.8 * part.soft(nose))

    def draw_mouth(self) -> None:
        look = self.look
        part, u, v = self.feature(0, look.mouth_row, reach=0.45, out=1.1)
        open_by = 0.02 + 0.16 * self.opening
        width = look.mouth_width * (1 - 0.15 * self.opening)
        outer = 1 - np.hypot(u / width, v / (open_by + look.lips))
        inner = 1 - np.hypot(u / (0.85 * width), v / open_by)
        part.add(look.skin * (0.85, 0.5, 0.5), part.soft(0.1 * outer))
        part.add((50, 15, 20), part.soft(np.minimum(open_by, 0.1) * inner))
