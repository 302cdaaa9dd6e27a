"""Drawing a person: head, hair and features, turned and lit as the clip's pose says."""

import numpy as np

from avssl.world.eyes import senses_of
from avssl.world.persons import Person

SHOULDERS = 1.05  # half widths and rows below are in half heights of the head


def paint_person(layers: np.ndarray, person: Person, frame_seconds: np.ndarray) -> np.ndarray:
    """Draws into float32 layers [n, h, w, c], in place; gives the boxes [n, 4] of head and hair."""
    size, path, look = layers.shape[1], person.path(frame_seconds), person.identity.look
    half = person.size * size / 2
    x, y = path.x * size, path.y * size
    reach = 1.45 * half
    left, right = _span(x, reach, size)
    top = _span(y, reach, size)[0]
    rows = np.arange(top, size, dtype=np.float32) + 0.5
    columns = np.arange(left, right, dtype=np.float32) + 0.5
    face = _Face(
        person,
        (columns[None, None, :] - x[:, None, None].astype(np.float32)) / np.float32(half),
        (rows[None, :, None] - y[:, None, None].astype(np.float32)) / np.float32(half),
        path.angle.astype(np.float32)[:, None, None],
        frame_seconds,
        np.float32(half),
    )
    covered = face.draw(layers[:, top:, left:right], look)
    return _boxes(covered, left, top, size)


def _span(middle: np.ndarray, reach: float, size: int) -> tuple[int, int]:
    low, high = np.floor(middle.min() - reach), np.ceil(middle.max() + reach)
    return max(0, int(low)), min(size, int(high))


def _boxes(covered: np.ndarray, left: int, top: int, size: int) -> np.ndarray:
    """From opacity [n, h, w]: what is at least half covered."""
    opaque = covered >= 0.5
    ends = []
    for axis, first in ((1, left), (2, top)):
        line = opaque.any(axis=axis)
        ends.append(first + line.argmax(axis=1))
        ends.append(first + line.shape[1] - line[:, ::-1].argmax(axis=1))
    return np.stack([ends[0], ends[2], ends[1], ends[3]], axis=1) / size


class _Face:
    """The fields over the pixels [n, h, w] that all features are drawn from."""

    def __init__(self, person: Person, right, down, angle, seconds: np.ndarray, half: np.float32):
        pose = person.pose
        self.person, self.half = person, half
        self.right, self.down = right, down
        self.u = np.cos(angle) * right + np.sin(angle) * down
        self.v = np.cos(angle) * down - np.sin(angle) * right
        swing = pose.sway * np.sin(2 * np.pi * seconds / person.drift_seconds)
        yaw = np.float32(pose.yaw) + swing.astype(np.float32)
        pitch = np.float32(pose.pitch) + 0.5 * swing[::-1].astype(np.float32)
        # Features lie on a head that turns: they move aside, and the more the farther they stand
        # out of it.
        self.aside = np.sin(yaw)[:, None, None]
        self.nod = np.sin(pitch)[:, None, None]
        self.narrow = np.cos(yaw)[:, None, None]
        self.opening = person.openness(seconds).astype(np.float32)[:, None, None]
        shade = 1 + np.float32(pose.side_light) * np.clip(self.u, -1, 1)
        self.light = shade[..., None] * pose.light.astype(np.float32)

    def at(self, u: float, v: float, out: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
        """Pixels as seen from the feature at (u, v) of the face; `out` of the turning axis."""
        width = self.person.identity.look.head_width
        middle = u * self.narrow + out * width * 0.75 * self.aside
        return (self.u - middle) / self.narrow, self.v - v - out * 0.35 * self.nod

    def soft(self, inside: np.ndarray) -> np.ndarray:
        """Opacity of what is positive inside, with an edge of one pixel."""
        return np.clip(0.5 + inside * self.half, 0, 1)

    def ellipse(self, u, v, across: float, down: float) -> np.ndarray:
        return self.soft((1 - np.hypot(u / across, v / down)) * min(across, down))

    def draw(self, picture: np.ndarray, look) -> np.ndarray:
        """Into [n, h, w, c]; gives the opacity [n, h, w] of head and hair."""
        whole = self._silhouette(look)
        body = self._body()
        skin, hair = look.skin.astype(np.float32), look.hair.astype(np.float32)
        rgb = picture[..., :3]

        def add(colour, opacity: np.ndarray) -> None:
            lit = np.clip(np.asarray(colour, np.float32) * self.light, 0, 255)
            rgb[...] += (lit - rgb) * opacity[..., None]

        add(self.person.pose.clothes, body)
        add(hair, whole["hair"])
        add(0.8 * skin, whole["neck"])
        add(skin, whole["head"])
        for mole in look.moles:
            add(0.4 * skin, self.ellipse(*self.at(*mole.tolist()), 0.04, 0.04) * whole["head"])
        if look.beard:
            u, v = self.at(0, look.mouth_row + 0.12)
            ring = self.ellipse(u, v, 0.95 * look.head_width, 0.5)
            add(hair, ring * whole["head"] * self.soft(v + 0.16 - 0.3 * np.abs(u)))
        self._eyes(add, look, whole["head"])
        self._nose_and_mouth(add, look)
        add(hair, whole["fringe"])
        covered = np.maximum(np.maximum(whole["head"], whole["hair"]), whole["fringe"])
        if picture.shape[-1] > 3:
            depth, warmth = senses_of(self.person)
            skin_warmth = warmth * (0.55 + 0.45 * whole["head"] * (1 - 0.7 * whole["fringe"]))
            opacity = np.maximum(covered, np.maximum(body, whole["neck"]))
            picture[..., 3] += (np.float32(depth) - picture[..., 3]) * opacity
            picture[..., 4] += (skin_warmth.astype(np.float32) - picture[..., 4]) * opacity
        return covered

    def _silhouette(self, look) -> dict[str, np.ndarray]:
        u, v = self.u, self.v
        across = np.abs(u) / np.float32(look.head_width)
        power = np.where(v > 0, np.float32(look.head_power), np.float32(2.0))
        radius = (across**power + np.abs(v) ** power) ** (1 / power)
        head = self.soft((1 - radius) * look.head_width)
        volume = np.float32(look.hair_volume)
        around = 1 - np.hypot(u / (look.head_width * volume), np.minimum(v, 0) / volume)
        hair = self.soft(np.minimum(around * look.head_width, look.hair_length - v))
        _, below = self.at(0, look.hair_line)
        arch = below + 0.5 * (u - look.parting * look.head_width - 0.3 * self.aside) ** 2 - 0.12
        fringe = self.soft(-arch) * np.maximum(head, hair)
        neck = self.soft(np.minimum(0.45 * look.head_width - np.abs(u), v - 0.6))
        neck = neck * self.soft(1.25 - v)
        return {"head": head, "hair": hair, "fringe": fringe, "neck": neck}

    def _body(self) -> np.ndarray:
        """Upright whatever the head does."""
        slope = self.down - 1.12 - 0.25 * np.abs(self.right) ** 2
        return self.soft(np.minimum(slope, 1.3 * SHOULDERS - np.abs(self.right)))

    def _eyes(self, add, look, head: np.ndarray) -> None:
        for side in (-1, 1):
            u, v = self.at(side * look.eye_gap, look.eye_row)
            white = self.ellipse(u, v, look.eye_size * 1.35, look.eye_size * 0.75) * head
            add((235, 235, 235), white)
            add(look.iris, self.ellipse(u, v, look.eye_size * 0.6, look.eye_size * 0.65) * white)
            brow = v + 1.9 * look.eye_size - look.brow_tilt * side * u
            bar = np.minimum(look.brow_thickness - np.abs(brow), 1.5 * look.eye_size - np.abs(u))
            add(look.hair * 0.7, self.soft(bar) * head)
            if look.glasses:
                ring = np.abs(np.hypot(u, v) - 1.9 * look.eye_size)
                add((25, 25, 30), self.soft(0.025 - ring))
        if look.glasses:
            u, v = self.at(0, look.eye_row)
            bridge = np.minimum(look.eye_gap - 1.85 * look.eye_size - np.abs(u), 0.025 - np.abs(v))
            add((25, 25, 30), self.soft(bridge))

    def _nose_and_mouth(self, add, look) -> None:
        u, v = self.at(0, look.eye_row + look.nose_length, out=1.25)
        slope = look.nose_width * (0.35 + 0.65 * (v + look.nose_length) / look.nose_length)
        nose = np.minimum(slope - np.abs(u), np.minimum(v + look.nose_length, 0.05 - v))
        add(0.78 * look.skin, self.soft(nose) * 0.8)
        u, v = self.at(0, look.mouth_row, out=1.1)
        open_by = 0.02 + 0.16 * self.opening
        lips = look.skin * np.array([0.85, 0.5, 0.5])
        width = look.mouth_width * (1 - 0.15 * self.opening)
        outer = np.hypot(u / width, v / (open_by + look.lips))
        inner = np.hypot(u / (0.85 * width), v / open_by)
        add(lips, self.soft((1 - outer) * 0.1))
        add((50, 15, 20), self.soft((1 - inner) * np.minimum(open_by, 0.1)))
