"""Tracks against hand-worked cases and against all pairings; what a run finds in every frame of its clips."""

import dataclasses
import itertools
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from avssl.data.boxes import overlaps
from avssl.data.open import open_source
from avssl.data.pipeline import evaluation_batches
from avssl.data.views import AudioView, VideoView
from avssl.errors import UsageError
from avssl.evaluate import tracks as of_a_run
from avssl.evaluate.features import Extracted
from avssl.evaluate.tracking import Counts, Tracked, Tracking, counted, linked, matching
from avssl.objectives import build_objective


def box(left: float) -> list[float]:
    return [left, 0.0, left + 0.2, 0.2]


def frame(*pairs: tuple[int, float], labels=None) -> Tracked:
    """Boxes by identity and where they begin; two that begin 0.05 apart overlap by 0.6."""
    boxes = np.array([box(left) for _, left in pairs]).reshape(-1, 4)
    kinds = np.zeros(len(pairs), np.int64) if labels is None else np.array(labels)
    return Tracked(boxes, kinds, np.array([identity for identity, _ in pairs], np.int64))


def test_boxes_are_linked_from_frame_to_frame():
    frames = [frame((9, 0.0), (9 + 1, 0.5)), frame((0, 0.52), (1, 0.05)), frame((0, 0.1)),
              frame(), frame((0, 0.1))]  # fmt: skip
    assert [one.identities.tolist() for one in linked(frames)] == [[0, 1], [1, 0], [0], [], [2]]
    # Another class, or too little overlap, is another thing.
    other = [frame((0, 0.0)), frame((0, 0.0), labels=[1]), frame((0, 0.11), labels=[1])]
    assert [one.identities.tolist() for one in linked(other)] == [[0], [1], [2]]
    # As many as there can be: greedily the first would take what the second alone can have.
    both = [frame((0, 0.05), (1, 0.0)), frame((0, 0.01), (1, 0.1))]
    assert [one.identities.tolist() for one in linked(both)] == [[0, 1], [1, 0]]


def test_hand_worked_counts():
    truth = [frame((0, 0.0), (1, 0.5))] * 4
    found = [
        frame((5, 0.0), (6, 0.5)),  # both
        frame((5, 0.02)),  # one is missed
        frame((5, 0.0), (7, 0.5), (8, 0.9)),  # it comes back as another track, and there is a third
        frame((7, 0.0), (5, 0.5)),  # each has the other's
    ]
    counts = counted(found, truth)
    assert counts == Counts(
        objects=8, found=8, misses=1, false_positives=1, switches=3, identified=4
    )
    assert counts.mota == pytest.approx(1 - 5 / 8)
    # 0 is 5 in three frames; 1 is 6, 7 or 5 in one.
    assert counts.idf1 == pytest.approx(2 * 4 / 16)


def test_a_track_is_kept_while_it_is_near_even_where_another_is_nearer():
    truth = [frame((0, 0.0)), frame((0, 0.1))]
    found = [frame((3, 0.0)), frame((4, 0.1), (3, 0.05))]
    counts = counted(found, truth)
    assert (counts.misses, counts.false_positives, counts.switches) == (0, 1, 0)
    # Once it is too far away the other one is a switch.
    counts = counted([found[0], frame((4, 0.1), (3, 0.0))], truth)
    assert (counts.misses, counts.false_positives, counts.switches) == (0, 1, 1)
    # And where the object was lost in between, too.
    counts = counted([found[0], frame(), frame((4, 0.0))], [truth[0]] * 3)
    assert (counts.misses, counts.switches) == (1, 1)


def test_clips_are_counted_together_and_errors_have_no_limit():
    perfect = [frame((0, 0.0))] * 3
    crowd = [frame(*((number, number / 4) for number in range(4)))]
    assert Tracking([perfect], [perfect]).of_clips() == {"mota": 1.0, "idf1": 1.0}
    both = Tracking([perfect, crowd], [perfect, [frame()]]).of_clips()
    assert both == {"mota": pytest.approx(1 - 4 / 3), "idf1": pytest.approx(6 / 10)}
    with pytest.raises(UsageError, match="no frame of 1 clips has any"):
        Tracking([crowd], [[frame()]])


def test_clips_may_count_several_times():
    perfect, crowd = [frame((0, 0.0))] * 3, [frame((0, 0.0), (1, 0.5))]
    both = Tracking([perfect, crowd], [perfect, [frame((0, 0.0))]])
    found = both(np.array([[1, 0, 2], [1, 2, 0]], np.float32))
    assert [numbers[0] for numbers in found.values()] == list(both.of_clips().values())
    # The crowded clip twice, and the perfect one twice.
    np.testing.assert_allclose(found["mota"][1:], [0.0, 1.0])
    np.testing.assert_allclose(found["idf1"][1:], [2 / 3, 1.0])


def drawn(draws: np.random.Generator, num_frames: int) -> list[Tracked]:
    frames = []
    for _ in range(num_frames):
        count = int(draws.integers(0, 4))
        identities = draws.permutation(4)[:count]
        frames.append(frame(*((int(i), float(draws.uniform(0, 0.35))) for i in identities)))
    return frames


def all_pairings(rows: int, columns: int):
    """Every one-to-one choice of pairs, of any number."""
    for number in range(min(rows, columns) + 1):
        for chosen in itertools.combinations(range(rows), number):
            for partners in itertools.permutations(range(columns), number):
                yield tuple(zip(chosen, partners, strict=True))


def by_all_pairings(found, truth) -> Counts:
    misses = false_positives = switches = 0
    last: dict[int, int] = {}
    for tracks, objects in zip(found, truth, strict=True):
        near, overlap = matching(objects, tracks, 0.5), overlaps(objects.boxes, tracks.boxes)
        names, numbers = objects.identities.tolist(), tracks.identities.tolist()
        kept: list[tuple[int, int]] = []
        for row, name in enumerate(names):
            for column, number in enumerate(numbers):
                free = all(column != other for _, other in kept)
                if last.get(name) == number and near[row, column] and free:
                    kept.append((row, column))
        choices = [
            pairs
            for pairs in all_pairings(len(names), len(numbers))
            if set(kept) <= set(pairs) and all(near[pair] for pair in pairs)
        ]
        best = max(choices, key=lambda pairs: (len(pairs), sum(overlap[pair] for pair in pairs)))
        misses += len(names) - len(best)
        false_positives += len(numbers) - len(best)
        for row, column in best:
            switches += last.get(names[row], numbers[column]) != numbers[column]
            last[names[row]] = numbers[column]
    most = 0
    for pairs in all_pairings(4, 4):
        together = 0
        for tracks, objects in zip(found, truth, strict=True):
            near = matching(objects, tracks, 0.5)
            names, numbers = objects.identities.tolist(), tracks.identities.tolist()
            together += sum(
                name in names
                and number in numbers
                and near[names.index(name), numbers.index(number)]
                for name, number in pairs
            )
        most = max(most, together)
    total = sum(map(len, truth)), sum(map(len, found))
    return Counts(*total, misses, false_positives, switches, most)


@pytest.mark.parametrize("seed", range(12))
def test_it_is_the_best_of_all_pairings(seed):
    draws = np.random.default_rng(seed)
    truth, found = drawn(draws, 6), drawn(draws, 6)
    assert counted(found, truth) == by_all_pairings(found, truth)


def test_views_lie_around_the_one_whose_start_is_given():
    source = open_source("world:tiny_vehicles@test")
    views = {
        "video": VideoView(frames=1, fps=8.0, size=32, align="center").evaluation(),
        "audio": AudioView(seconds=0.5, rate=8000).evaluation(),
    }
    starts = np.array([0.0, 0.75, 0.75, 1.375])
    with evaluation_batches(
        source, views, batch_size=4, indices=np.array([1, 1, 3, 3]), starts=starts,
        starts_of=views["video"],
    ) as batches:  # fmt: skip
        [batch] = list(batches)
    found = {name: batch["geometry"][name]["start_seconds"] for name in views}
    np.testing.assert_allclose(found["video"], starts)
    middle = 0.75 + 0.0625 - 0.25
    np.testing.assert_allclose(found["audio"], [0.0, middle, middle, 1.0], atol=1e-6)


class Answering:
    """Finds in each frame what the truth has, in place of a network; `blind` to one time."""

    blind = -1.0

    def __init__(self, model):
        self.view = model.views["video"]

    def extract(self, weights, source, indices, workers, starts, starts_of):
        assert (list(weights), starts_of) == ([""], "video")
        boxes = np.zeros((len(indices), 8, 6), np.float32)
        for row, (index, seconds) in enumerate(zip(indices.tolist(), starts.tolist(), strict=True)):
            objects = of_a_run.identified_at(source[index].truth, seconds)[0]
            if seconds != self.blind:
                boxes[row, : len(objects), :4] = objects.boxes
                boxes[row, : len(objects), 4] = 0.9
            boxes[row, -1] = [0.4, 0.4, 0.6, 0.6, 0.3, 0]  # not sure enough
        num = len(indices)
        whole = np.tile([0.0, 0.0, 1.0, 1.0], (num, 1))
        geometry = {"start_seconds": starts, "box": whole, "flip": np.zeros(num, bool)}
        present = {"video": np.ones(num, bool)}
        return {"": Extracted({}, {"detect": {"boxes": boxes}}, np.zeros(num), indices, present,
                              {"video": geometry}, 0)}  # fmt: skip


def tracks_of(source, monkeypatch, most_clips=5, trained=True, **score):
    monkeypatch.setattr(of_a_run, "MOST_CLIPS", most_clips)
    sides: Any = SimpleNamespace(
        variables={}, scored=(source, np.arange(16)), workers=0,
        test=SimpleNamespace(index=np.arange(16)), with_intervals=trained,
        extractor=lambda use, model: Answering(model),
    )  # fmt: skip
    model: Any = SimpleNamespace(views={"video": VideoView(frames=1, fps=8.0)})
    detecting: Any = {"detect": build_objective("detect", {"agnostic": True})}
    return of_a_run.tracks(model, sides, detecting, **score)


@pytest.mark.parametrize("blind", [-1.0, 0.75])
def test_every_frame_of_some_clips_is_looked_at(blind, monkeypatch, capsys):
    monkeypatch.setattr(Answering, "blind", blind)
    source = open_source("world:tiny_vehicles@test")
    mota, idf1 = tracks_of(source, monkeypatch)["detect"]
    assert (mota.metric, idf1.metric, mota.n) == ("mota", "idf1", 5)
    assert "mota and idf1 are of 5 of 16 clips" in capsys.readouterr().out
    # One vehicle may move on by more than a link allows between two frames of the tiny world.
    assert mota.value > 0.6 > mota.chance
    assert (mota.value > 0.9) == (blind < 0)
    assert idf1.value > idf1.chance
    for score in (mota, idf1):
        assert score.interval is not None
        assert score.interval[0] <= score.value <= score.interval[1]


def test_boxes_from_the_score_on_that_is_asked_for(monkeypatch, capsys):
    """Objects have 0.9, and a box beside them that is in no frame an object has 0.3."""
    source = open_source("world:tiny_vehicles@test")
    (usual, _), (more, _), none = (
        tracks_of(source, monkeypatch, least_score=score)["detect"] for score in (0.5, 0.3, 0.95)
    )
    assert more.value < usual.value
    assert [score.value for score in none] == [0.0, 0.0]
    told = "no box by detect has a score of 0.95 in the clips that are tracked"
    assert capsys.readouterr().out.count(told) == 1
    # Of random weights nobody expects any.
    tracks_of(source, monkeypatch, trained=False, least_score=0.95)
    assert told not in capsys.readouterr().out


class Emptied:
    """Of a source but one clip has objects in view; those of the others are `elsewhere`, if anywhere."""

    def __init__(self, source, whole, elsewhere):
        self.source, self.whole, self.elsewhere = source, whole, elsewhere
        self.spec = source.spec

    def __getitem__(self, index):
        record = self.source[index]
        if index == self.whole:
            return record
        objects = [
            {**thing, "boxes": [box and [edge + 2 for edge in box] for box in thing["boxes"]]}
            for thing in record.truth["objects"]
        ]
        truth = {**record.truth, "objects": objects if self.elsewhere else []}
        return dataclasses.replace(record, truth=truth)


@pytest.mark.parametrize("elsewhere", [False, True])
def test_clips_without_objects_have_no_tracks(elsewhere, monkeypatch, capsys):
    """Evenly spread, the clips 0, 4, 8, 11 and 15 are looked at."""
    source = open_source("world:tiny_vehicles@test")
    assert tracks_of(Emptied(source, 5, elsewhere), monkeypatch) == {}
    assert "tiny_vehicles@test shows no object in any of the clips" in capsys.readouterr().out
    assert tracks_of(Emptied(source, 4, elsewhere), monkeypatch).keys() == {"detect"}


def test_a_source_of_single_frames_is_said(capsys):
    truth = {"fps": 1, "objects": [{"boxes": [[0, 0, 1, 1]], "class": 0}]}
    source = SimpleNamespace(spec="single", truth=lambda index: truth)
    sides: Any = SimpleNamespace(
        scored=(source, np.arange(2)), test=SimpleNamespace(index=np.arange(2))
    )
    assert of_a_run.tracks(SimpleNamespace(views={}), sides, {}) == {}  # pyright: ignore
    assert (
        "no tracking: single knows where objects are in one frame alone" in capsys.readouterr().out
    )


def test_boxes_of_one_identity_are_refused():
    with pytest.raises(ValueError, match="2 boxes of one frame"):
        frame((1, 0.0), (1, 0.5))
