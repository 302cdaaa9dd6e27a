"""Draws in time and space: repeatable, inside the record, shared by anchor, as torchvision's."""

import dataclasses

import numpy as np
import pytest

from avssl.data.open import open_source
from avssl.data.pipeline import Pipeline
from avssl.data.placement import (
    anchor_windows,
    place_in_space,
    place_in_time,
    sample_window,
)
from avssl.data.views import AudioView, VideoView, build_view, squashed
from avssl.errors import UsageError

VIDEO = VideoView(frames=8, fps=16.0, size=16)
AUDIO = AudioView(seconds=2.0, rate=8000)


def starts(views, *, duration=10.0, seed=0, position=0):
    placed = place_in_time(
        views, anchor_windows(views), duration_seconds=duration, seed=seed, position=position
    )
    return {view: first for view, (first,) in placed.items()}


def test_a_draw_depends_on_seed_position_and_view_alone():
    free = dataclasses.replace(VIDEO, anchor="free", jitter_seconds=0.3)
    alone = starts([free], position=7)[free]
    assert starts([VIDEO, AUDIO, free], position=7)[free] == alone
    assert starts([dataclasses.replace(free)], position=7)[free] == alone
    others = {starts([free], position=p, seed=s)[free] for p in range(5) for s in range(5)}
    assert len(others) == 25


def test_views_of_one_anchor_share_a_window_as_long_as_the_longest():
    short = dataclasses.replace(VIDEO, align="center")
    long = dataclasses.replace(AUDIO, align="center")
    at_start = dataclasses.replace(AUDIO, align="start", seconds=1.0)
    for position in range(20):
        placed = starts([short, long, at_start], position=position)
        assert placed[short] + short.seconds / 2 == pytest.approx(placed[long] + 1.0)
        assert placed[at_start] == placed[long]
        inside = starts([VIDEO, AUDIO], position=position)
        assert inside[AUDIO] <= inside[VIDEO] <= inside[AUDIO] + 2.0 - VIDEO.seconds + 1e-9


def test_no_view_leaves_the_record_however_it_is_jittered():
    jittered = dataclasses.replace(VIDEO, jitter_seconds=5.0)
    placed = np.array([starts([jittered, AUDIO], position=p)[jittered] for p in range(300)])
    assert placed.min() == 0.0
    assert placed.max() == 10.0 - VIDEO.seconds
    assert np.unique(placed).size > 100
    assert starts([AUDIO], duration=1.5)[AUDIO] == 0.0


def test_jitter_moves_a_view_by_at_most_so_much_to_either_side():
    fixed = dataclasses.replace(VIDEO, window="center", align="center")
    jittered = dataclasses.replace(fixed, jitter_seconds=0.25)
    moved = np.array(
        [starts([jittered], position=p)[jittered] - starts([fixed])[fixed] for p in range(400)]
    )
    assert -0.25 <= moved.min() < -0.23
    assert 0.23 < moved.max() <= 0.25


def test_windows_cover_the_record_evenly():
    placed = np.array([starts([AUDIO], position=p)[AUDIO] for p in range(2000)])
    counts, _ = np.histogram(placed, bins=8, range=(0, 8))
    assert counts.min() > 190
    assert counts.max() < 310


def test_evaluation_is_the_middle():
    views = [VIDEO.evaluation(), AUDIO.evaluation()]
    placed = starts(views, position=3)
    assert placed == starts(views, seed=1, position=9)
    assert placed[views[0]] == pytest.approx(5.0 - VIDEO.seconds / 2)
    crop = place_in_space(views[0], frame_width=40, frame_height=32, seed=5, position=8)
    assert (crop.left, crop.top, crop.width, crop.height) == (12, 8, 16, 16)
    assert not crop.flip


def test_an_anchor_cannot_be_placed_in_two_ways():
    with pytest.raises(UsageError, match=r"anchor 'clip'.*'random'.*'center'"):
        anchor_windows([VIDEO, AUDIO.evaluation()])


def test_crops_have_the_area_and_aspect_of_random_resized_crop():
    view = dataclasses.replace(VIDEO, crop_area=(0.2, 0.8))
    crops = [
        place_in_space(view, frame_width=320, frame_height=240, seed=0, position=p)
        for p in range(2000)
    ]
    area = np.array([crop.width * crop.height for crop in crops]) / (320 * 240)
    log_aspect = np.log([crop.width / crop.height for crop in crops])
    assert 0.19 < area.min() < 0.22
    assert 0.75 < area.max() < 0.81
    assert abs(log_aspect).max() < np.log(4 / 3) + 0.03
    # Boxes that do not fit are drawn again, which favours small and wide ones: the same in short.
    random = np.random.default_rng(0)
    drawn = random.uniform(0.2, 0.8, 100_000)
    ratio = random.uniform(np.log(3 / 4), np.log(4 / 3), 100_000)
    square = 0.75 * drawn  # of a frame that is 1 wide and 0.75 high
    fits = (square * np.exp(ratio) <= 1) & (square * np.exp(-ratio) <= 0.75**2)
    assert abs(np.mean(area) - np.mean(drawn[fits])) < 0.012
    assert abs(np.mean(log_aspect) - np.mean(ratio[fits])) < 0.012
    boxes = np.array([crop.box(320, 240) for crop in crops])
    assert boxes.min() >= 0.0
    assert boxes.max() <= 1.0
    assert 0.45 < np.mean([crop.flip for crop in crops]) < 0.55


def test_a_frame_that_no_crop_fits_gives_the_largest_centred_one():
    view = dataclasses.replace(VIDEO, crop_area=(1.0, 1.0), crop_aspect=(0.5, 2.0))
    wide = place_in_space(view, frame_width=100, frame_height=10, seed=0, position=0)
    assert (wide.left, wide.top, wide.width, wide.height) == (40, 0, 20, 10)
    tall = place_in_space(view, frame_width=10, frame_height=100, seed=0, position=0)
    assert (tall.left, tall.top, tall.width, tall.height) == (0, 40, 10, 20)


def test_a_squashed_view_is_of_the_whole_frame_also_in_evaluation():
    view = dataclasses.replace(VIDEO, crop="squash")
    assert view.evaluation().crop == "squash"
    assert VIDEO.evaluation().crop == "center"
    for each in (view, view.evaluation(), dataclasses.replace(VIDEO, size=9, placed_with=view)):
        crop = place_in_space(each, frame_width=100, frame_height=10, seed=0, position=3)
        assert crop.box(100, 10) == (0, 0, 1, 1)
    sound = AudioView(channels=2, mirrored_with=VIDEO)
    larger = dataclasses.replace(VIDEO, size=9, placed_with=VIDEO)
    assert squashed(sound).mirrored_with == squashed(larger).placed_with == squashed(VIDEO) == view


def test_a_view_without_flip_is_never_mirrored():
    view = dataclasses.replace(VIDEO, flip=False)
    flips = {place_in_space(view, frame_width=40, frame_height=30, seed=0, position=p).flip
             for p in range(50)}  # fmt: skip
    assert flips == {False}


def test_samples_are_counted_from_the_start_of_the_record():
    assert sample_window(AUDIO, 0.5) == slice(4000, 20000)


def test_a_shifted_view_lies_as_far_away_as_asked_and_inside_the_record():
    shifted = dataclasses.replace(AUDIO, shift_seconds=(2.5, 4.0))
    moved = []
    for position in range(400):
        placed = starts([AUDIO, shifted], position=position)
        assert 0 <= placed[shifted] <= 10.0 - shifted.seconds
        moved.append(placed[shifted] - placed[AUDIO])
    size = np.abs(moved)
    assert size.min() >= 2.5
    assert size.max() <= 4.0
    assert 0.3 < np.mean(np.array(moved) > 0) < 0.7
    # Between both ends of what is allowed, not at them.
    assert 3.0 < size.mean() < 3.5


def test_a_shift_of_one_length_goes_either_way():
    shifted = dataclasses.replace(AUDIO, shift_seconds=(2.0, 2.0))
    moved = []
    for position in range(200):
        placed = starts([AUDIO, shifted], duration=12.0, position=position)
        moved.append((placed[AUDIO], placed[shifted] - placed[AUDIO]))
    np.testing.assert_allclose(np.abs([move for _, move in moved]), 2.0)
    assert all(move > 0 for start, move in moved if start < 2.0)
    both = [move > 0 for start, move in moved if 2.0 <= start <= 8.0]
    assert 0.3 < np.mean(both) < 0.7


def test_a_record_without_room_for_a_shift_has_no_such_window():
    shifted = dataclasses.replace(AUDIO, shift_seconds=(2.5, 4.0))
    assert np.isnan(starts([shifted], duration=4.0)[shifted])
    assert not np.isnan(
        [starts([shifted], duration=13.0, position=p)[shifted] for p in range(50)]
    ).any()


def test_several_windows_are_drawn_apart_and_views_of_an_anchor_share_each():
    several = [dataclasses.replace(view, windows=3, align="start") for view in (VIDEO, AUDIO)]
    placed = place_in_time(
        several, anchor_windows(several), duration_seconds=10.0, seed=0, position=4
    )
    video, audio = placed[several[0]], placed[several[1]]
    assert len(set(video)) == 3
    assert video == audio
    alone = starts([dataclasses.replace(AUDIO, align="start")], position=4)
    assert audio[0] == next(iter(alone.values()))


def test_a_given_start_holds_for_views_placed_alike_and_for_the_first_window_of_an_anchor():
    depth = dataclasses.replace(VIDEO, stream="depth")
    several = dataclasses.replace(AUDIO, windows=3, align="start")
    views = [VIDEO, several]

    def placed(**fixed):
        return place_in_time(
            views, anchor_windows(views), duration_seconds=10.0, seed=0, position=4, **fixed
        )

    free, given = placed(), placed(fixed={depth: 3.0})
    assert given[VIDEO] == [3.0]
    assert given[several][0] == pytest.approx(3.0 + VIDEO.seconds / 2 - AUDIO.seconds / 2)
    assert given[several][1:] == free[several][1:]


def test_windows_at_fixed_distances_are_placed_as_one_view():
    """Four frames in the middle of the slots of a sound that lasts as long as all of them."""
    sound = AudioView(seconds=20.0)
    frames = VideoView(
        frames=1, fps=25.0, windows=4, every_seconds=5.0, align="center", jitter_seconds=0.0
    )
    views = (sound, frames)
    windows = anchor_windows(views)
    assert windows == {"clip": ("random", 20.0)}
    firsts = set()
    for position in range(20):
        starts = place_in_time(views, windows, duration_seconds=31.0, seed=0, position=position)
        (first,) = starts[sound]
        middles = np.array(starts[frames]) + 0.5 / 25
        np.testing.assert_allclose(middles - first, [2.5, 7.5, 12.5, 17.5], atol=1e-9)
        assert 0 <= first <= 11
        firsts.add(round(first))
    assert len(firsts) > 4
    # What is longer than the record leaves a slot without sound; without room for a frame nothing is shown.
    for duration, shown in ((15.04, True), (15.0, False)):
        starts = place_in_time(views, windows, duration_seconds=duration, seed=0, position=0)
        assert np.isfinite(starts[frames]).all() == shown
        assert starts[sound] == [0.0]
    # A given start is that of the first; the sound lies around them all.
    starts = place_in_time(
        views, windows, duration_seconds=31.0, seed=0, position=0, fixed={frames: 5.0}
    )
    assert starts[frames] == [5.0, 10.0, 15.0, 20.0]
    assert starts[sound] == [pytest.approx(5.0 + 15.04 / 2 - 10.0)]


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"every_seconds": 0.0}, "every_seconds of view 'v' must be at least 0.001, not 0.0"),
        ({"every_seconds": 1.0, "projection": "sphere", "flip": False}, "leave every_seconds out"),
    ],
)
def test_distances_that_no_windows_can_have_are_refused(keys, said):
    with pytest.raises(UsageError, match=said):
        build_view("v", {"modality": "video", "windows": 2, **keys})


def test_panoramas_as_released_look_the_same_way_a_pixel_off():
    keys = {"modality": "video", "projection": "sphere", "flip": False, "frames": 1, "size": 32}
    exact = build_view("exact", {**keys, "windows": 2})
    released = build_view("released", {**keys, "windows": 2, "released_sampling": True})
    pipeline = Pipeline(
        open_source("world:tiny_sphere@train"), {"exact": exact, "released": released},
        batch_size=4, seed=0,
    )  # fmt: skip
    with pipeline.batches() as batches:
        batch = next(batches)
    assert (batch["views"]["exact"] != batch["views"]["released"]).any()
    for known in ("direction", "field", "start_seconds"):
        first, second = (batch["geometry"][name][known] for name in ("exact", "released"))
        np.testing.assert_array_equal(first, second)
    with pytest.raises(UsageError, match="released_sampling of view 'v' is of panoramas"):
        build_view("v", {"modality": "video", "released_sampling": True})
