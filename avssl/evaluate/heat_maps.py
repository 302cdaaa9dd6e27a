"""Heat maps over a picture: resized to it, scaled, and joined with one of where objects are."""

from typing import Literal

import numpy as np
from jaxtyping import Float

from avssl.errors import AvsslError

INTERPOLATIONS = ("bilinear", "bilinear_corners", "bicubic")
Interpolation = Literal["bilinear", "bilinear_corners", "bicubic"]
# Of bicubic interpolation; torch's and OpenCV's.
CUBIC_SHARPNESS = -0.75


def resize(
    heat: Float[np.ndarray, "h w"], size: int, interpolation: Interpolation = "bilinear"
) -> Float[np.ndarray, "size size"]:
    """To the picture's size; never antialiased.

    - "bilinear": with a cell's value in its middle and the outer ones continued to the edge. As
      OpenCV's INTER_LINEAR and torch's align_corners=False.
    - "bilinear_corners": with the values of the outer cells at the edge, so that all others move
      towards it. As torch's align_corners=True.
    - "bicubic": middles as in the first. As torch's and OpenCV's; it may leave the map's range.
    """
    if interpolation not in INTERPOLATIONS:
        raise ValueError(
            f"interpolation is one of {', '.join(INTERPOLATIONS)}, not '{interpolation}'"
        )
    heat = np.asarray(heat, np.float64)
    if heat.ndim != 2 or not heat.size:
        raise ValueError(f"a heat map must have the shape [height, width], not {heat.shape}")
    if not np.isfinite(heat).all():
        raise AvsslError(
            "a heat map holds numbers that are not finite; evaluate an earlier checkpoint"
        )
    if heat.shape == (size, size):
        return heat
    if heat.min() == heat.max():
        # Rounding would give it a shape.
        return np.full((size, size), heat.flat[0])
    height, width = heat.shape
    rows, columns = (weights(num_cells, size, interpolation) for num_cells in (height, width))
    return rows @ heat @ columns.T


def weights(
    num_cells: int, size: int, interpolation: Interpolation
) -> Float[np.ndarray, "size num_cells"]:
    """How much each cell counts for each pixel, along one side."""
    cells, pixels = np.arange(num_cells), np.arange(size)
    if interpolation == "bilinear_corners":
        places = pixels * ((num_cells - 1) / max(size - 1, 1))
    else:
        places = (pixels + 0.5) * num_cells / size - 0.5
    if interpolation != "bicubic":
        places = np.clip(places, 0, num_cells - 1)
        return np.maximum(0, 1 - np.abs(places[:, None] - cells[None]))
    found = np.zeros((size, num_cells))
    for shift in (-1, 0, 1, 2):
        taken = np.floor(places).astype(int) + shift
        weight = cubic(np.abs(places - taken))
        np.add.at(found, (pixels, np.clip(taken, 0, num_cells - 1)), weight)
    return found


def cubic(distance: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    """Keys' kernel (1981), for distances up to 2."""
    a = CUBIC_SHARPNESS
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = a * (((distance - 5) * distance + 8) * distance - 4)
    return np.where(distance <= 1, near, far)


def scaled(heat: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """From 0 to 1; a map that is the same everywhere stays as it is."""
    low, high = heat.min(), heat.max()
    return heat if low == high else (heat - low) / (high - low)


def fused(
    heat: Float[np.ndarray, "h w"], objects: Float[np.ndarray, "h w"], share: float = 0.4
) -> Float[np.ndarray, "h w"]:
    """EZ-VSL's object-guided map, of maps of the picture's size: both scaled, `share` of the first.

    `objects` says where any object is (Mo and Morgado: the mean over channels of the magnitudes of
    a ResNet-18's last map, trained on ImageNet). By itself it is strong: report all three.
    """
    return scaled(share * scaled(heat) + (1 - share) * scaled(objects))
