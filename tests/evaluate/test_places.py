"""Localisation of a run: which maps meet which boxes, and what chance is."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from avssl.data.views import VideoView
from avssl.errors import UsageError
from avssl.evaluate.heat_maps import fused, resize
from avssl.evaluate.localization import PICTURE_SIZE, RELEASED, localization
from avssl.evaluate.places import MapOptions, places, true_boxes
from avssl.evaluate.sides import Score

VIEW = "frames"
LEFT_HALF, RIGHT_HALF, ALL = [0.0, 0.0, 0.5, 1.0], [0.5, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0]
LEFT, RIGHT, LOW = [0.1, 0.3, 0.3, 0.6], [0.7, 0.3, 0.9, 0.6], [0.4, 0.7, 0.6, 0.9]
HALF = np.repeat(np.array([[1.0] * 10 + [0.0] * 10]), 20, axis=0)


def peak(x: float, y: float = 0.45, size: int = 20) -> np.ndarray:
    heat = np.zeros((size, size))
    heat[int(y * size), int(x * size)] = 1
    return heat


def rows_of(
    outputs: dict, truths: list[dict], flip=(False, False), crop=ALL, **options
) -> list[Score]:
    """Of two clips, which are the records 7 and 3."""
    records = dict(zip((7, 3), truths, strict=True))
    geometry = {"start_seconds": np.zeros(2), "box": np.array([crop] * 2), "flip": np.array(flip)}
    test = SimpleNamespace(
        outputs={
            name: {key: np.stack(m) for key, m in maps.items()} for name, maps in outputs.items()
        },
        index=np.array([7, 3]),
        geometry={VIEW: geometry},
    )
    model = SimpleNamespace(
        objectives=dict.fromkeys(outputs, SimpleNamespace(video_view=VIEW)),
        views={VIEW: VideoView(frames=2, fps=4.0)},
    )
    source = SimpleNamespace(truth=records.__getitem__)
    sides = SimpleNamespace(test=test, scored=(source, np.array([7, 3])), compiled={})
    return places(model, sides, MapOptions(**options))


def scored(outputs: dict, truths: list[dict], flip=(False, False), **options) -> dict[str, tuple]:
    """By metric: value, chance and n."""
    scores = rows_of(outputs, truths, flip, **options)
    assert {score.features for score in scores} == {"video"}
    found = {score.metric: (score.value, score.chance, score.n) for score in scores}
    assert len(found) == len(scores)
    return found


def annotated(*boxes, **further) -> dict:
    return {"sounding_boxes": list(boxes), **further}


def test_maps_are_scored_on_clips_with_boxes_as_the_view_shows_them():
    maps = {
        "seen": {"video_map": [HALF, HALF]},
        "blind": {},
        "mirrored": {"video_map": [HALF[:, ::-1]] * 2},
    }
    # Flipped, the right half is the left one; the other clip shows nothing that sounds.
    found = scored(maps, [annotated(RIGHT_HALF), annotated()], flip=(True, False))
    # A box of half the width in the middle covers half of the object, and half of it is beside.
    chance = {"ciou": 0.0, "ciou_auc": 0.325, "mean_ciou": 1 / 3, "pointing": 0.5}
    assert set(found) == {*chance, *(f"mirrored/{metric}" for metric in chance)}
    for metric, by_chance in chance.items():
        assert found[metric] == pytest.approx((1.0, by_chance, 1))
        # With cIoU 0 one threshold of twenty is passed, which is 0.
        none = 0.025 if metric == "ciou_auc" else 0.0
        assert found[f"mirrored/{metric}"] == pytest.approx((none, by_chance, 1))


def test_the_boxes_are_those_of_the_frames_that_are_shown():
    # The view shows the world's frames 0 and 0, or 1 and 2.
    boxes = [LEFT_HALF, RIGHT_HALF, ALL]
    thing = {"class": 0, "visible": True, "sounding": True, "boxes": boxes}
    truths = [{"fps": 3.0, "objects": [thing]}] * 2
    geometry = {
        "start_seconds": np.array([0.0, 0.5]), "box": np.array([ALL] * 2), "flip": np.zeros(2, bool),
    }  # fmt: skip
    for frames, expected in {1: [LEFT_HALF, RIGHT_HALF], 2: [LEFT_HALF, [0.25, 0, 1, 1]]}.items():
        view = VideoView(frames=frames, fps=4.0)
        np.testing.assert_allclose(true_boxes(truths, geometry, view), np.array(expected)[:, None])


def test_objects_are_told_apart_by_the_several_maps_and_chance_is_the_clip_before():
    middle, left, right = peak(0.5), peak(0.2), peak(0.8)
    several = [np.stack([left, right]), np.stack([left, left])]
    found = scored(
        {
            "several": {"video_map": [middle, middle], "video_maps": several},
            "single": {"video_map": [right, middle]},
        },
        [annotated(LEFT, RIGHT), annotated(LEFT, LOW)],
    )
    assert found["separated"] == (0.75, 0.5, 2)
    # One map serves for both objects.
    assert found["single/separated"] == (0.25, 0.0, 2)
    assert found["pointing"][::2] == (0.0, 2)


def test_chance_of_pointing_is_the_point_in_the_centre():
    truths = [annotated([0.4, 0.4, 0.6, 0.6]), annotated(LEFT)]
    scores = rows_of({"seen": {"video_map": [peak(0.5, 0.5), peak(0.5)]}}, truths)
    (pointed,) = [score for score in scores if score.metric == "pointing"]
    assert (pointed.value, pointed.chance, pointed.n) == (0.5, 0.5, 2)
    assert pointed.interval == (0.0, 1.0)


@pytest.mark.parametrize(("consensus", "mean_ciou"), [(1, 1 / 2), (2, 2 / 3)])
def test_boxes_of_two_annotators_are_one_object(consensus, mean_ciou):
    truth = annotated(LEFT_HALF, ALL, consensus=consensus)
    found = scored({"seen": {"video_map": [HALF, HALF]}}, [truth, truth])
    assert found["mean_ciou"][0] == pytest.approx(mean_ciou)
    assert ("separated" in found) == (consensus == 1)


def test_what_has_no_score_is_refused():
    with pytest.raises(UsageError, match="gives a map of the picture"):
        scored({"blind": {}}, [annotated(LEFT), annotated(LEFT, consensus=2)])
    with pytest.raises(UsageError, match="no common score"):
        scored(
            {"seen": {"video_map": [HALF, HALF]}}, [annotated(LEFT), annotated(LEFT, consensus=2)]
        )


def test_objects_and_both_together_are_scored_beside_the_sounding_map():
    sound, objects = [peak(0.2), peak(0.8)], [HALF, HALF]
    truth = annotated(LEFT_HALF)
    maps = {"seen": {"video_map": sound, "object_map": objects}}
    scores = rows_of(maps, [truth, truth], share=0.3)
    found = {(score.features, score.metric): score.value for score in scores}
    pointed = {kind: found[kind, "pointing"] for kind in ("video", "objects", "fused")}
    assert pointed == {"video": 0.5, "objects": 1.0, "fused": 1.0}
    assert found["objects", "mean_ciou"] == pytest.approx(1.0, abs=0.05)
    together = [
        fused(resize(heat, PICTURE_SIZE), resize(own, PICTURE_SIZE), 0.3)
        for heat, own in zip(sound, objects, strict=True)
    ]
    expected = localization(together, [np.array([LEFT_HALF])] * 2)
    assert found["fused", "mean_ciou"] == pytest.approx(expected["mean_ciou"])
    alone = rows_of(maps, [truth, truth])
    assert {score.features for score in alone} == {"video"}
    assert alone == [score for score in scores if score.features == "video"]


@pytest.mark.parametrize("released", RELEASED)
def test_released_rules_are_those_of_the_evaluators(released):
    heat = np.random.default_rng(0).random((7, 7))
    truth = annotated(LEFT_HALF, RIGHT)
    found = scored({"seen": {"video_map": [heat, heat]}}, [truth, truth], released=released)
    expected = localization([heat], [np.array([LEFT_HALF, RIGHT])], **RELEASED[released])
    ours = localization([heat], [np.array([LEFT_HALF, RIGHT])])
    assert found["mean_ciou"][0] == pytest.approx(expected["mean_ciou"])
    assert expected["mean_ciou"] != pytest.approx(ours["mean_ciou"], abs=1e-3)


def test_a_map_of_another_network_is_of_no_weights_of_the_run():
    truth = annotated(LEFT_HALF)
    network: Any = SimpleNamespace(maps=lambda *_: [HALF, HALF])
    scores = rows_of(
        {"seen": {"video_map": [HALF] * 2}}, [truth, truth], share=0.3, objects=network
    )
    assert {score.features for score in scores if score.of_weights} == {"video", "fused"}
    assert {score.features for score in scores if not score.of_weights} == {"objects"}


def test_options_that_mean_nothing_are_refused():
    for share in (1.5, float("nan")):
        with pytest.raises(UsageError, match="--alpha is the share"):
            MapOptions(share=share)


@pytest.mark.parametrize(
    ("truths", "said"),
    [
        (
            [annotated(LEFT), annotated()],
            "1 of 2 clips are not scored: 1 show nothing that sounds\n",
        ),
        (
            [annotated(LEFT), annotated(RIGHT)],
            "1 of 2 clips are not scored: 0 show nothing that sounds, 1 show it beside the crop alone\n",
        ),
        ([annotated(LEFT), annotated(LEFT, RIGHT)], ""),
    ],
)
def test_how_many_clips_cannot_be_scored_is_said_once(truths, said, capsys):
    maps = {"seen": {"video_map": [HALF, HALF]}, "mirrored": {"video_map": [HALF, HALF]}}
    rows_of(maps, truths, crop=LEFT_HALF)
    assert capsys.readouterr().out == (said and f"localization: {said}")
