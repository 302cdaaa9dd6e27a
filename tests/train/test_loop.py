"""The loop reads the logs of a step behind the device, but those of the first one at once."""

import dataclasses
from collections.abc import Iterator

import jax.numpy as jnp

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


def test_a_first_step_is_written_before_the_next_batch_is_there():
    written = []
    feed = Feed(written)
    loop = Loop(
        step_function=step_function,
        feed=feed,
        start=START,
        steps=STEPS,
        batch_size=2,
        log_every_steps=1,
        checkpoint_every_steps=100,
        save=lambda step, state: None,
        log=lambda step, metrics: written.append(step),
        faults=Faults(0.0, names_of=None),
        gaps=Gaps(0.0, key_of=str, stored=frozenset()),
        stop_requested=lambda step: False,
        refresh=lambda step, state: state,
    )
    assert loop.run(START) == STEPS
    assert feed.seen[:2] == [[], [START + 1]]
    assert feed.seen[-1] == list(range(START + 1, STEPS - STEPS_IN_FLIGHT))
    assert written == list(range(START + 1, STEPS + 1))
