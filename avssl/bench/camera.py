"""Pictures and sounds that cost encoders and decoders about what those of cameras do.

The view glides over a large texture, coarse and fine, discs cross it, and each frame has the noise of a sensor;
tones come and go over a hiss.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float32, UInt8
from scipy.ndimage import uniform_filter1d

HEIGHT, WIDTH = 256, 340
FRAMES_PER_SECOND = 25
SAMPLES_PER_SECOND = 44100
# Squares of pixels, coarse ones blurred into each other: 768 x 1024 of both.
COARSE, COARSE_PIXELS, BLUR_PIXELS, COARSE_CONTRAST = (24, 32), 32, 33, 90
FINE, FINE_PIXELS, FINE_CONTRAST = (192, 256), 4, 12
GREY = 128
# Where the view begins, and from where on it begins anew at the texture's edge.
FIRST_CORNER, TURNS_AT = (250, 300), (400, 600)
PIXELS_A_FRAME = 1.5
NUM_DISCS = 3
SENSOR_NOISE = 2
LOUDNESS, HISS = 0.3, 0.02
BEATS_PER_SECOND = 2


@dataclasses.dataclass(frozen=True)
class Disc:
    """Comes in again where it has left the picture."""

    left: float
    top: float
    right_a_frame: float
    down_a_frame: float
    radius: float
    colour: np.ndarray

    def covers(self, number: int) -> np.ndarray:
        """[height, width]: which pixels of that frame."""
        rows, columns = np.mgrid[:HEIGHT, :WIDTH]
        x = (self.left + self.right_a_frame * number) % WIDTH
        y = (self.top + self.down_a_frame * number) % HEIGHT
        return (columns - x) ** 2 + (rows - y) ** 2 < self.radius**2


def pictures(
    draws: np.random.Generator, num_frames: int
) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    texture = drawn_texture(draws)
    glide = draws.uniform(-PIXELS_A_FRAME, PIXELS_A_FRAME, 2)
    discs = [drawn_disc(draws) for _ in range(NUM_DISCS)]
    for number in range(num_frames):
        top, left = (FIRST_CORNER + glide * number).astype(int) % TURNS_AT
        picture = texture[top : top + HEIGHT, left : left + WIDTH].copy()
        for disc in discs:
            picture[disc.covers(number)] = disc.colour
        picture += SENSOR_NOISE * draws.normal(size=(HEIGHT, WIDTH, 1))
        yield np.clip(picture, 0, 255).astype(np.uint8)


def drawn_texture(draws: np.random.Generator) -> np.ndarray:
    coarse = np.kron(draws.normal(size=(*COARSE, 3)), np.ones((COARSE_PIXELS, COARSE_PIXELS, 1)))
    for axis in (0, 1):
        coarse = uniform_filter1d(coarse, BLUR_PIXELS, axis, mode="constant")
    fine = np.kron(draws.normal(size=(*FINE, 1)), np.ones((FINE_PIXELS, FINE_PIXELS, 1)))
    return GREY + COARSE_CONTRAST * coarse / np.abs(coarse).max() + FINE_CONTRAST * fine


def drawn_disc(draws: np.random.Generator) -> Disc:
    return Disc(
        left=draws.uniform(0, WIDTH),
        top=draws.uniform(0, HEIGHT),
        right_a_frame=draws.uniform(-3, 3),
        down_a_frame=draws.uniform(-3, 3),
        radius=draws.uniform(10, 40),
        colour=draws.uniform(0, 255, 3),
    )


def sound(
    draws: np.random.Generator, hertz: float, seconds: int
) -> Float32[np.ndarray, "2 samples"]:
    times = np.arange(SAMPLES_PER_SECOND * seconds) / SAMPLES_PER_SECOND
    tone = LOUDNESS * np.sin(2 * np.pi * hertz * times)
    beat = np.sin(2 * np.pi * BEATS_PER_SECOND * times) > 0
    heard = tone * beat + HISS * draws.normal(size=len(times))
    return np.stack([heard, heard]).astype(np.float32)
