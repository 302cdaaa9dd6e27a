"""Draws: pure, balanced, apart from the class, and faults at their rates."""

import collections
import dataclasses

import numpy as np
import pytest

from avssl.errors import UsageError
from avssl.world.classes import KINDS
from avssl.world.motion import MOTIONS, Stage, sounding_path
from avssl.world.registry import WORLDS, World, find_world
from avssl.world.scene import FAULTS, draw_fault, draw_label, draw_scene, stream
from avssl.world.shapes import SHAPES
from avssl.world.textures import TEXTURES
from avssl.world.things import draw_thing
from avssl.world.timbre import TIMBRES

QUICKSTART = WORLDS["quickstart"]


def test_every_kind_is_made_of_known_parts_and_has_its_own_look_and_timbre() -> None:
    for kind in KINDS:
        assert kind.shape in SHAPES
        assert kind.texture in TEXTURES
        assert kind.motion in MOTIONS
        assert kind.timbre in TIMBRES
    for part in ("name", "shape", "texture", "timbre"):
        assert len({getattr(kind, part) for kind in KINDS}) == len(KINDS)


def is_even(world: World) -> bool:
    return world.class_ratio == 1 and world.cast != "persons"


@pytest.mark.parametrize("name", sorted(n for n in WORLDS if is_even(WORLDS[n])))
def test_labels_are_balanced_and_out_of_order(name: str) -> None:
    world = WORLDS[name]
    whole = world.num_train // world.num_classes * world.num_classes
    labels = [draw_label(world, "train", index) for index in range(whole)]
    counts = collections.Counter(labels)
    assert sorted(counts) == list(range(world.num_classes))
    assert set(counts.values()) == {whole // world.num_classes}
    assert labels[: world.num_classes] != labels[world.num_classes : 2 * world.num_classes]


def fields_but_class(thing) -> list:
    fields = dataclasses.asdict(thing)
    del fields["class_index"]
    return [np.asarray(value).tolist() for value in fields.values()]


def test_nothing_but_the_class_depends_on_the_class() -> None:
    things = [
        draw_thing(np.random.default_rng(7), QUICKSTART, class_index, [], sounding=True)
        for class_index in range(QUICKSTART.num_classes)
    ]
    for thing in things:
        assert fields_but_class(thing) == fields_but_class(things[0])


def test_splits_and_clips_have_streams_of_their_own() -> None:
    draws = {
        tuple(stream(QUICKSTART, split, index, purpose).integers(2**31, size=4))
        for split in ("train", "test")
        for index in range(50)
        for purpose in range(5)
    }
    assert len(draws) == 2 * 50 * 5


def test_faults_come_at_their_rates_and_only_there() -> None:
    world, num_clips = WORLDS["faulty"], WORLDS["faulty"].num_train
    faults = [draw_fault(world, "train", index)[0] for index in range(num_clips)]
    for name in FAULTS:
        rate = getattr(world, f"{name}_rate")
        spread = (rate * (1 - rate) / num_clips) ** 0.5
        assert abs(faults.count(name) / num_clips - rate) < 4 * spread
    assert sum(fault is not None for fault in faults) / num_clips == pytest.approx(0.4, abs=0.06)
    assert {draw_fault(QUICKSTART, "train", index)[0] for index in range(100)} == {None}


def test_swapped_audio_comes_from_another_class_of_the_split() -> None:
    world = dataclasses.replace(QUICKSTART, swapped_rate=1.0)
    for index in range(50):
        fault, other = draw_fault(world, "test", index)
        assert fault == "swapped"
        assert other is not None
        assert 0 <= other < world.num_test
        assert draw_label(world, "test", other) != draw_label(world, "test", index)


def test_crowd_has_several_objects_of_different_classes() -> None:
    scenes = [draw_scene(WORLDS["crowd"], "train", index) for index in range(40)]
    assert {sum(t.event_seconds is not None for t in s.things) for s in scenes} == {1, 2, 3}
    assert max(len(scene.things) for scene in scenes) == 5
    for scene in scenes:
        assert scene.things[0].class_index == scene.label
        assert len({thing.class_index for thing in scene.things}) == len(scene.things)


def test_objects_differ_in_place_and_size() -> None:
    things = [draw_scene(QUICKSTART, "train", index).things[0] for index in range(200)]
    x, y = (np.array([getattr(thing.stage, axis) for thing in things]) for axis in "xy")
    assert x.std() > 0.12
    assert y.std() > 0.12
    assert np.std([thing.size for thing in things]) > 0.04


STAGE = Stage(x=0.5, y=0.5, reach=0.3, angle=0.4, direction=0.7)
EVENTS = np.array([-0.4, 0.13, 0.71, 1.22, 1.9, 2.6, 3.3])
INSIDE = (EVENTS >= 0) & (EVENTS < 3)


# What each family does at an event and nowhere else, as (quantity of the path, extreme).
TURNING_POINTS = {
    "bounce": [("y", np.max)],
    "roll": [("x", np.max), ("x", np.min)],
    "slide": [("x", np.max), ("x", np.min)],
    "pendulum": [("y", np.max)],
    "hammer": [("y", np.max)],
    "swell": [("scale", np.max)],
}


@pytest.mark.parametrize("motion", sorted(TURNING_POINTS))
def test_extremes_of_a_motion_fall_on_events(motion: str) -> None:
    times = np.sort(np.concatenate([np.arange(0.001, 3, 0.002), EVENTS[INSIDE]]))
    path = sounding_path(motion, STAGE, EVENTS, times)
    at_event = np.isin(times, EVENTS)
    reached = np.zeros(INSIDE.sum(), bool)
    for quantity, extreme in TURNING_POINTS[motion]:
        line = getattr(path, quantity)
        near = np.abs(line - extreme(line)) < 1e-10
        assert not (near & ~at_event).any()
        reached |= near[at_event]
    assert reached.all()


@pytest.mark.parametrize("motion", ["shake", "tick"])
def test_motions_that_answer_a_blow_rest_before_it(motion: str) -> None:
    times = np.arange(0, 3, 0.002)
    path = sounding_path(motion, STAGE, EVENTS, times)
    speed = np.abs(np.gradient(path.angle, times))
    for event in EVENTS[INSIDE]:
        before = speed[(times > event - 0.05) & (times < event - 0.004)].max()
        after = speed[(times > event) & (times < event + 0.05)].max()
        assert after > 5 * before


@pytest.mark.parametrize("motion", sorted(MOTIONS))
def test_whatever_sounds_is_squashed_at_its_events(motion: str) -> None:
    times = np.arange(0, 3, 0.002)
    squash = sounding_path(motion, STAGE, EVENTS, times).squash
    drops = times[1:][np.diff(squash) < -0.05]
    np.testing.assert_allclose(drops, EVENTS[INSIDE], atol=0.0021)


def test_mistyped_names_are_met_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'quickstart'"):
        find_world("quikstart")
    with pytest.raises(UsageError, match="did you mean 'train'"):
        QUICKSTART.num_clips("trian")
    with pytest.raises(UsageError, match="did you mean 'test'"):
        draw_scene(QUICKSTART, "tests", 0)


def test_a_world_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="num_classes"):
        World("none", num_classes=len(KINDS) + 1)
    with pytest.raises(ValueError, match="even"):
        World("odd", size=95)


def test_the_fingerprint_follows_every_setting() -> None:
    changes = ({"silent_rate": 0.5}, {"rhythm": "aperiodic"}, {"squash": 0.3}, {"ears": 1})
    for change in (*changes, {"eyes": ("depth",)}, {"eyes": ("thermal",)}, {"fog_rate": 0.1}):
        assert dataclasses.replace(QUICKSTART, **change).fingerprint != QUICKSTART.fingerprint
    assert dataclasses.replace(QUICKSTART).fingerprint == QUICKSTART.fingerprint


def test_new_settings_leave_the_fingerprints_of_older_worlds_alone() -> None:
    """Else all caches would be built anew. GENERATOR_VERSION alone may change these."""
    wanted = {
        "quickstart": "ac2fda0b7010cf78",
        "tiny": "f1693c2ed41a3c1f",
        "faulty": "9be72948df9bcfa2",
        "crowd": "d9be5f484cf37c8d",
        "sphere": "5d3c9cd363e74ce2",
        "tiny_sphere": "c31b68c414bfdfe6",
        "unbalanced": "76200dead8b35cae",
        "pairs": "730e0c173d6c1a00",
        "long": "71492a3f7455bd1d",
    }
    assert {name: WORLDS[name].fingerprint for name in wanted} == wanted
