"""Night and fog. Both fall on the RGB picture alone: neither warmth nor depth is hidden by them."""

import dataclasses
import math

import numpy as np

from avssl.world.registry import World

WEATHER = ("night", "fog")
NIGHT_LIGHT = (0.02, 0.1)
SENSOR_NOISE = (1.5, 4.0)
# At this distance 1 / e of the contrast is left.
VISIBILITY_METRES = {"objects": (0.5, 1.3), "vehicles": (2.0, 5.0), "persons": (0.1, 0.25)}


@dataclasses.dataclass(frozen=True)
class Weather:
    """`amount` is the light that is left at night, or the visibility in fog (metres)."""

    kind: str
    amount: float
    grey: float
    noise: float
    seed: int


def draw_weather(world: World, rng: np.random.Generator) -> Weather | None:
    """None on a clear day."""
    share = rng.uniform()
    if share >= world.night_rate + world.fog_rate:
        return None
    kind = "night" if share < world.night_rate else "fog"
    span = NIGHT_LIGHT if kind == "night" else VISIBILITY_METRES[world.cast]
    return Weather(
        kind=kind,
        amount=math.exp(rng.uniform(*np.log(span))),
        grey=float(rng.uniform(150, 220)),
        noise=float(rng.uniform(*SENSOR_NOISE)),
        seed=int(rng.integers(2**31)),
    )


def under(weather: Weather, layers: np.ndarray) -> np.ndarray:
    """RGB frames float32 [n, h, w, 3] as the weather leaves them, of layers as `eyes` has them."""
    frames = layers[..., :3]
    if weather.kind == "fog":
        clear = np.exp(np.exp(layers[..., 3:4]) * np.float32(-1 / weather.amount))
        return weather.grey + (frames - weather.grey) * clear
    rng = np.random.default_rng(weather.seed)
    noise = rng.standard_normal((*frames.shape[:3], 1), dtype=np.float32)
    return np.clip(frames * np.float32(weather.amount) + noise * np.float32(weather.noise), 0, 255)
