import math

import numpy as np
import pytest

from avssl.media.sphere import (
    Viewpoint,
    center_distance,
    crop_frames,
    draw_viewpoints,
    sampling_map,
)

CROP = (24, 24)


def frame_of(value_at, height: int = 120) -> np.ndarray:
    """uint8 [height, 2 height, 3] of a function of azimuth to the right and elevation."""
    azimuth = ((np.arange(2 * height) + 0.5) / (2 * height) - 0.5) * 2 * np.pi
    elevation = (0.5 - (np.arange(height) + 0.5) / height) * np.pi
    value = value_at(azimuth[None, :], elevation[:, None])
    picture = np.broadcast_to(np.rint(value), (height, 2 * height))
    return np.repeat(picture[..., None], 3, axis=-1).astype(np.uint8)


def crop(frame: np.ndarray, viewpoint: Viewpoint, size=CROP, **kwargs) -> np.ndarray:
    return crop_frames(frame[None], sampling_map(viewpoint, frame.shape[:2], size, **kwargs))[0]


def cosine_to(x: float, y: float):
    """A frame's pixels by how near they are to a point."""
    at, height = (x - 0.5) * 2 * np.pi, (0.5 - y) * np.pi

    def value(azimuth, elevation):
        cosine = np.sin(elevation) * np.sin(height)
        cosine = cosine + np.cos(elevation) * np.cos(height) * np.cos(azimuth - at)
        return 127.5 + 127.5 * cosine

    return value


@pytest.mark.parametrize(("x", "y"), [(0.5, 0.5), (0.2, 0.35), (0.999, 0.6), (0.0, 0.66)], ids=str)
def test_pixels_lie_where_a_pinhole_camera_sees_them(x, y):
    """The angle to the centre of a plane that touches the sphere there is an arc tangent."""
    viewpoint = Viewpoint(x, y, 0.2, 0.3)
    seen = crop(frame_of(cosine_to(x, y), 240), viewpoint)[..., 0]
    plane = 2 * (np.arange(CROP[0]) + 0.5) / CROP[0] - 1
    across, down = np.pi * 0.2 * plane[None, :], np.pi / 2 * 0.3 * plane[:, None]
    cosine = 1 / np.sqrt(1 + across**2 + down**2)
    np.testing.assert_allclose(seen, 127.5 + 127.5 * cosine, atol=1.1)


def test_up_is_up_and_right_is_right():
    viewpoint = Viewpoint(0.97, 0.4, 0.2, 0.4)
    upwards = crop(frame_of(lambda azimuth, elevation: elevation * 80 + 127), viewpoint)
    middle = upwards[:, CROP[1] // 2, 0].astype(int)
    assert (np.diff(middle) < 0).all()
    # From there the frame's seam lies in view, on the right.
    rightwards = crop(
        frame_of(lambda azimuth, elevation: azimuth % (2 * np.pi) * 40 + 0 * elevation), viewpoint
    )
    middle = rightwards[CROP[0] // 2, :, 0].astype(int)
    assert (np.diff(middle) > 0).all()


def test_the_mirrored_frame_gives_the_mirrored_crop():
    random = np.random.default_rng(0)
    frame = random.integers(0, 256, (60, 120, 3), dtype=np.uint8)
    viewpoint = Viewpoint(0.3, 0.4, 0.2, 0.4)
    mirrored = viewpoint._replace(x=1 - viewpoint.x)
    both = crop(frame, viewpoint)[:, ::-1], crop(frame[:, ::-1], mirrored)
    assert np.abs(both[0].astype(int) - both[1]).max() <= 1
    released = [
        crop(frame, viewpoint, released_sampling=True)[:, ::-1],
        crop(frame[:, ::-1], mirrored, released_sampling=True),
    ]
    assert np.abs(released[0].astype(int) - released[1]).max() > 20


def test_every_share_is_one_even_at_the_poles_and_the_seam():
    frame = np.full((20, 40, 3), 200, np.uint8)
    for y in (0.0, 0.5, 1.0):
        for released in (False, True):
            sampling = sampling_map(Viewpoint(0.0, y, 0.9, 0.9), (20, 40), CROP)
            assert sampling.corners.min() >= 0
            assert sampling.corners.max() < 800
            assert sampling.shares.min() >= 0
            seen = crop(frame, Viewpoint(0.0, y, 0.9, 0.9), released_sampling=released)
            np.testing.assert_array_equal(seen, 200)


def test_one_map_serves_all_frames():
    frames = np.random.default_rng(0).integers(0, 256, (3, 30, 60, 3), dtype=np.uint8)
    sampling = sampling_map(Viewpoint(0.1, 0.6, 0.2, 0.3), (30, 60), (8, 10))
    crops = crop_frames(frames, sampling)
    assert crops.shape == (3, 8, 10, 3)
    assert crops.dtype == np.uint8
    for frame, expected in zip(frames, crops, strict=True):
        np.testing.assert_array_equal(crop_frames(frame[None], sampling)[0], expected)


def test_draws_keep_the_rules():
    drawn = [draw_viewpoints(np.random.default_rng(seed), 4) for seed in range(300)]
    values = np.array(drawn)
    assert values.shape == (300, 4, 4)
    x, y, across, down = values.reshape(-1, 4).T
    aspect = down / (2 * across)
    bounds = {0: (x, 0, 1), 1: (y, 0.33, 0.66), 2: (across, 0.0707, 0.25), 3: (aspect, 0.75, 4 / 3)}
    for found, low, high in bounds.values():
        assert low <= found.min() < low + 0.02 * (high - low)
        assert high - 0.02 * (high - low) < found.max() <= high
    # The logarithm of the aspect is symmetric about 0, its mean is not 1.
    assert abs(np.log(aspect).mean()) < 0.02
    for viewpoints in drawn:
        for i, one in enumerate(viewpoints):
            assert all(center_distance(one, other) > 0.2 for other in viewpoints[:i])
    assert draw_viewpoints(np.random.default_rng(5), 4) == drawn[5]
    assert drawn[5] != drawn[6]


def test_distance_closes_around_the_frame():
    def distance(first, second):
        return center_distance(Viewpoint(*first, 0.1, 0.1), Viewpoint(*second, 0.1, 0.1))

    assert math.isclose(distance((0.95, 0.5), (0.05, 0.5)), 0.2)
    assert math.isclose(distance((0.2, 0.4), (0.2, 0.6)), 0.2)
    assert math.isclose(distance((0.0, 0.5), (0.5, 0.5)), 1.0)


def test_without_room_the_furthest_attempt_is_taken():
    viewpoints = draw_viewpoints(np.random.default_rng(0), 3, min_distance=5.0)
    first, second, third = viewpoints
    # With a free second place opposite to the first, and the third between them.
    assert center_distance(first, second) > 0.95
    assert min(center_distance(third, first), center_distance(third, second)) > 0.4
