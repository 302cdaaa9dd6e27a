"""The loop reads the logs of a step behind the device, but those of the first one at once."""

import dataclasses
from collections.abc import Iterator

import jax.numpy as jnp
import pytest

from avssl.errors import Preempted
from avssl.train.loop import STEPS_IN_FLIGHT, Faults, Gaps, Loop

START, STEPS = 3, 8


@dataclasses.dataclass
class Feed(Iterator):
    """Says which steps were written down when each batch was asked for."""

    written: list
    seen: list = dataclasses.field(default_factory=list)
    wait_seconds: float = 0.0

    def __next__(self):
        self.seen.append(list(self.written))
        return ()


def step_function(state, batch):
    logs = {
        "loss": 1.0,
        "bad_clips": 0,
        "seen_clips": 2,
        "incomplete_clips": 0,
        "faults": [-1, -1],
    }
    return state + 1, {name: jnp.asarray(value) for name, value in logs.items()}


def loop_of(feed, **parts):
    return Loop(
        **{
            "step_function": step_function,
            "feed": feed,
            "start": START,
            "steps": STEPS,
            "batch_size": 2,
            "log_every_steps": 1,
            "checkpoint_every_steps": 100,
            "save": lambda step, state: None,
            "log": lambda step, metrics: None,
            "faults": Faults(0.0, names_of=None),
            "gaps": Gaps(0.0, key_of=str, stored=frozenset()),
            "stop_requested": lambda: False,
            "refresh": lambda step, state: state,
            **parts,
        }
    )


def test_a_first_step_is_written_before_the_next_batch_is_there():
    written = []
    feed = Feed(written)
    loop = loop_of(feed, log=lambda step, metrics: written.append(step))
    assert loop.run(START) == STEPS
    assert feed.seen[:2] == [[], [START + 1]]
    assert feed.seen[-1] == list(range(START + 1, STEPS - STEPS_IN_FLIGHT))
    assert written == list(range(START + 1, STEPS + 1))


class AskedMeanwhile:
    """An evaluation during which a stop is asked for."""

    def __init__(self, step):
        self.step = step
        self.asked = False

    def due(self, step):
        return step == self.step

    def __call__(self, step, state):
        self.asked = True


def test_an_evaluation_comes_when_its_step_is_saved():
    saved, evaluations = [], AskedMeanwhile(START + 2)
    assert evaluations.due(START + 2)
    loop = loop_of(
        Feed([]), save=lambda step, state: saved.append((step, evaluations.asked)),
        evaluations=evaluations,
    )  # fmt: skip
    loop.run(START)
    assert saved == [(START + 2, False), (STEPS, True)]


def test_a_stop_that_is_asked_for_in_an_evaluation_comes_before_the_refresh():
    saved, refreshed = [], []
    evaluations = AskedMeanwhile(START + 2)

    def refresh(step, state):
        refreshed.append(step)
        return state

    loop = loop_of(
        Feed([]),
        save=lambda step, state: saved.append((step, state)),
        stop_requested=lambda: evaluations.asked,
        evaluations=evaluations,
        refresh=refresh,
    )
    with pytest.raises(Preempted, match=f"after step {START + 2}"):
        loop.run(START)
    assert saved == [(START + 2, START + 2)]
    assert refreshed == [START, START + 1]
