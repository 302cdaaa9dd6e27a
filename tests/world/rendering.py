"""What RGB sees of a scene, as most tests ask for it."""

import numpy as np

from avssl.world.render import render_eyes
from avssl.world.scene import Scene


def render(scene: Scene) -> tuple[np.ndarray, list[np.ndarray | None]]:
    """uint8 frames [n, h, w, 3] and, per object, its boxes (None: beside the picture)."""
    pictures, boxes = render_eyes(scene)
    return pictures[""], boxes
