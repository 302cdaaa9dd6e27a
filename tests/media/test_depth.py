"""Pictures of distances: which way is up, either order of bytes, and files that are none."""

import io

import numpy as np
import pytest
from PIL import Image

from avssl.media.depth import as_levels, depth_as_png, read_pfm
from avssl.media.errors import MediaError

METRES = np.array([[1.0, 2.0, 4.0], [8.0, 0.5, 0.0]], np.float32)


def pfm(metres, order="<", header=None):
    height, width = metres.shape
    scale = "-1.0" if order == "<" else "1.0"
    header = header or f"Pf\n{width} {height}\n{scale}\n"
    return header.encode() + metres[::-1].astype(f"{order}f4").tobytes()


@pytest.mark.parametrize("order", ["<", ">"])
def test_rows_come_from_the_lowest_one_up(order):
    np.testing.assert_array_equal(read_pfm(pfm(METRES, order), 100), METRES)


def test_nearer_is_darker_and_what_is_no_distance_is_black():
    levels = as_levels(np.array([[7.0, 3.0, 1.0], [np.nan, np.inf, -2.0]], np.float32))
    assert levels.shape == (2, 3, 3)
    assert levels[0, :, 0].tolist() == [255, 170, 85]
    assert not levels[1].any()
    assert not as_levels(np.zeros((2, 2), np.float32)).any()
    shown = np.asarray(Image.open(io.BytesIO(depth_as_png(pfm(METRES), 100))))
    np.testing.assert_array_equal(shown, as_levels(METRES))


@pytest.mark.parametrize(
    ("coded", "said"),
    [
        (b"Pf", "no whole header"),
        (b"Pf\n3 2\n" + b"1" * 200, "no whole header"),
        (pfm(METRES)[:-1], "breaks off"),
        (pfm(METRES, header="PF\n3 2\n-1\n"), "no PFM of one channel"),
        (pfm(METRES, header="Pf\n-3 2\n-1\n"), "no PFM of one channel"),
        (pfm(METRES, header="Pf\n3 2\nnan\n"), "no PFM of one channel"),
        (pfm(METRES, header="Pf\nthree 2\n-1\n"), "no sizes"),
        (pfm(METRES, header="Pf\n99999 99999\n-1\n"), "pixels, more than 100"),
    ],
)
def test_what_is_none_is_refused(coded, said):
    with pytest.raises(MediaError, match=said):
        depth_as_png(coded, 100)
