"""How deep the picture is and how warm: what other eyes see where no object is."""

import dataclasses
import math

import numpy as np

# Nearest and farthest wall, and least and greatest height of the camera above the floor.
WALL_METRES = {"objects": (5.0, 9.0), "vehicles": (11.0, 20.0), "persons": (2.0, 5.0)}
CAMERA_METRES = {"objects": (1.0, 1.8), "vehicles": (2.0, 3.2), "persons": (1.4, 1.8)}
EYE_ROW = 0.42  # where the camera of a street looks level; a share of the picture's height


@dataclasses.dataclass(frozen=True)
class Setting:
    """A wall that faces the camera, the height of the camera, and a coarse map of warmth (0..1)."""

    wall_metres: float
    camera_metres: float
    warmth: np.ndarray

    @property
    def floor_row(self) -> float:
        """Where the floor of a street meets its wall."""
        return EYE_ROW + self.camera_metres / (2 * self.wall_metres)


def draw_setting(rng: np.random.Generator, cast: str) -> Setting:
    wall, camera = (
        math.exp(rng.uniform(*np.log(span[cast]))) for span in (WALL_METRES, CAMERA_METRES)
    )
    warmth = np.clip(rng.uniform(0.12, 0.3) + rng.normal(0, 0.04, (4, 4, 1)), 0.02, 0.4)
    return Setting(wall, camera, warmth)


def depth_of_rows(setting: Setting, horizon: float, size: int) -> np.ndarray:
    """[size, 1]: metres from the camera's plane, of the wall and of the floor below `horizon`."""
    rows = (np.arange(size) + 0.5) / size
    below = np.clip(rows - horizon, 0, None)
    return (1 / (1 / setting.wall_metres + 2 * below / setting.camera_metres))[:, None]
