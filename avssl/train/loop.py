"""The loop: save, evaluate, refresh, next, step, log. Every method of the project trains through it.

A checkpoint is taken BEFORE the next batch is asked for: what is saved is the state after `step` updates, and
batch `step` is a function of (seed, step), so a resumed run goes on as if it had never stopped.
"""

import collections
import dataclasses
import re
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import jax
import numpy as np

from avssl.console import say
from avssl.data.keys import printable
from avssl.errors import AvsslError, Preempted, UsageError
from avssl.train.lookers import INCOMPLETE, Looker
from avssl.train.mesh import local_value
from avssl.train.peers import finished
from avssl.train.preemption import StopAsked
from avssl.train.state import TrainState

# How many steps may be under way before their logs are read: the device never waits for the host.
STEPS_IN_FLIGHT = 2
# A share of bad clips is only judged against at least this many, so that one early fault stops nothing.
MIN_SEEN_CLIPS = 1000
# Clips without a modality stop a run that has seen none with all of them among so many.
MIN_JUDGED_CLIPS = 100


class Save(Protocol):
    def __call__(self, step: int, state: TrainState) -> None: ...


class Log(Protocol):
    def __call__(self, step: int, metrics: dict[str, float]) -> None: ...


class Evaluations(Protocol):
    def due(self, step: int) -> bool: ...

    def __call__(self, step: int, state: TrainState) -> None: ...


class Profile(Protocol):
    def begin(self, step: int, state: TrainState) -> None: ...

    def end(self, step: int, state: TrainState) -> None: ...


@dataclasses.dataclass
class Recent:
    """The records that something was wrong with of late."""

    last: collections.deque = dataclasses.field(
        default_factory=lambda: collections.deque(maxlen=1000)
    )

    def add(self, rows: np.ndarray) -> None:
        """rows: record indices, -1 where nothing is wrong."""
        self.last.extend(rows[rows >= 0].tolist())

    def worst(self) -> list[int]:
        return [index for index, _ in collections.Counter(self.last).most_common(5)]


@dataclasses.dataclass
class Faults:
    """Watches the share of clips that could not be read; `names_of` says which and why."""

    max_fraction: float
    names_of: Any
    recent: Recent = dataclasses.field(default_factory=Recent)

    def check(self, step: int, logs: dict[str, np.ndarray]) -> None:
        self.recent.add(logs["faults"])
        bad, seen = int(logs["bad_clips"]), int(logs["seen_clips"])
        if bad <= self.max_fraction * max(seen, MIN_SEEN_CLIPS):
            return
        named = "; ".join(
            f"{printable(key)} ({reason})" for key, reason in self.names_of(self.recent.worst())
        )
        raise AvsslError(
            f"step {step}: {bad} of {seen} clips could not be read, more than data.max_bad_fraction="
            f"{self.max_fraction:g} allows: {named or 'none of them since this start'}; drop them with "
            "`avssl data build`, or raise the limit (with --allow-config-change)"
        )


@dataclasses.dataclass
class Gaps:
    """Watches the clips that a teacher should have said something of and has not.

    A store may have gaps, as data may have bad clips: counted, and bounded alike. A teacher that computes
    has none: its targets of each step are finite, or the run stops, whatever was counted before.
    """

    max_fraction: float
    key_of: Callable[[int], str]
    stored: frozenset[str]
    recent: dict[str, Recent] = dataclasses.field(default_factory=dict)

    def check(self, step: int, logs: dict[str, np.ndarray]) -> None:
        names = [key.split("/")[1] for key in logs if re.fullmatch(r"teachers/[^/]+/untaught", key)]
        for name in names:
            rows = logs[f"teachers/{name}/untaught"]
            recent = self.recent.setdefault(name, Recent())
            recent.add(rows)
            if name not in self.stored and np.any(rows >= 0):
                raise AvsslError(
                    f"step {step}: teacher '{name}' gives values that are not finite for {self.keys(recent)}; "
                    "nothing was saved from it: look at these clips with `avssl data verify`, or at the "
                    "teacher's run"
                )
            missing, seen = int(logs[f"teachers/{name}/untaught_clips"]), int(logs["seen_clips"])
            if name in self.stored and missing > self.max_fraction * max(seen, MIN_SEEN_CLIPS):
                named = self.keys(recent) or "none of them since this start"
                raise AvsslError(
                    f"step {step}: the store of teacher '{name}' has nothing of {missing} of {seen} clips, "
                    f"more than data.max_bad_fraction={self.max_fraction:g} allows: {named}; write it again "
                    "with `avssl teach`, ask for fewer windows of clips that are too short, or raise the limit "
                    "(with --allow-config-change)"
                )

    def keys(self, recent: Recent) -> str:
        return ", ".join(printable(self.key_of(index)) for index in recent.worst())


def check_finite(step: int, logs: dict[str, np.ndarray]) -> None:
    """Stops at the first value that is not a number, before anything is saved from it."""
    # The sums last: the metric that broke first is named, not what it was added to.
    for key in sorted(logs, key=lambda key: (key == "gradient_norm", key == "loss", key)):
        if not np.all(np.isfinite(logs[key])):
            raise AvsslError(
                f"step {step}: {key} is {logs[key]}; nothing was saved from it, earlier checkpoints are good: "
                "lower the learning rate, set optimizer.clip_norm, or look at the data with `avssl data verify`"
            )


@dataclasses.dataclass
class Completeness:
    """Stops a run none of whose clips shows an objective or a teacher what it looks at: its loss is 0 for ever.

    A data set says so at the start; files that nobody opened before do not. resumed: whether earlier clips
    were judged before, so that the few of a last stretch stop nothing.
    """

    lookers: Sequence[Looker] = ()
    spec: str = ""
    resumed: bool = False
    lacking: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    num_clips: int = 0

    def check(self, step: int, logs: dict[str, np.ndarray], is_last: bool) -> None:
        self.num_clips += len(logs["faults"])
        for one in self.lookers:
            self.lacking[one.key] += int(logs[one.key])
            if self.lacking[one.key] < self.num_clips:
                continue
            # What every clip must have is missed soon, what a few have to have later.
            enough = MIN_JUDGED_CLIPS if one.key == INCOMPLETE else MIN_SEEN_CLIPS
            if self.num_clips >= enough or (is_last and not self.resumed):
                refusal = one.refusal(f"the first {self.num_clips} clips", self.spec)
                raise UsageError(f"step {step}: {refusal}")
            if is_last:
                say(f"step {step}: {one.refusal(f'the last {self.num_clips} clips', self.spec)}")


@dataclasses.dataclass
class Loop:
    """One run of the loop from `start` to `steps`, the whole of a run or one stage of its curriculum.

    `refresh` may rewrite what objectives own, from the whole data: (step, state) -> state.
    """

    step_function: Any
    feed: Any  # iterator of placed batches with `wait_seconds`
    start: int
    steps: int
    batch_size: int
    log_every_steps: int
    checkpoint_every_steps: int
    save: Save
    log: Log
    faults: Faults
    gaps: Gaps
    stop_requested: Callable[[], bool]  # the same on every process
    refresh: Callable[[int, TrainState], TrainState]
    evaluations: Evaluations | None = None
    profile: Profile | None = None
    completeness: Completeness = dataclasses.field(default_factory=Completeness)

    def run(self, state: TrainState) -> TrainState:
        """The state after the last step, saved. Raises `Preempted` once a requested stop is saved."""
        pending: collections.deque[tuple[int, Any]] = collections.deque()
        saved = self.start
        self.restart_clock(self.start)
        for step in range(self.start, self.steps):
            # An evaluation may be ended where it is.
            due = step % self.checkpoint_every_steps == 0 or self.evaluates_at(step)
            if step > saved and due:
                self.drain(pending, 0)
                self.save(step, state)
                saved = step
            try:
                state = self.before_step(step, state, pending)
            except StopAsked:
                self.drain(pending, 0)
                if step > saved:
                    self.save(step, state)
                raise Preempted(
                    f"stopped on request after step {step}; the same command resumes it"
                ) from None
            if self.profile is not None:
                self.profile.begin(step + 1, state)
            batch = next(self.feed)
            state, logs = self.step_function(state, batch)
            if self.profile is not None:
                self.profile.end(step + 1, state)
            pending.append((step + 1, logs))
            # The first one at once: somebody is waiting to see that it runs.
            self.drain(pending, STEPS_IN_FLIGHT if step > self.start else 0)
        self.drain(pending, 0)
        if self.steps > saved:
            self.save(self.steps, state)
        return state

    def before_step(self, step: int, state: TrainState, pending: collections.deque) -> TrainState:
        """The evaluation and the refresh that are due. Both may take long: a stop comes before them."""
        self.stop_if_asked()
        if self.evaluations is not None and self.evaluations.due(step):
            self.drain(pending, 0)
            self.evaluations(step, state)
            # It takes no part in the speed of training.
            self.restart_clock(step)
            self.stop_if_asked()
        return self.refresh(step, state)

    def evaluates_at(self, step: int) -> bool:
        return self.evaluations is not None and self.evaluations.due(step)

    def stop_if_asked(self) -> None:
        if self.stop_requested():
            raise StopAsked

    def drain(self, pending: collections.deque, keep: int) -> None:
        """Reads the logs of all but the last `keep` steps; every step is checked, some are written."""
        while len(pending) > keep:
            step, logs = pending.popleft()
            values = {key: local_value(value) for key, value in logs.items()}
            finished(step)
            # First: what a teacher said is in every loss of it.
            self.gaps.check(step, values)
            check_finite(step, values)
            self.faults.check(step, values)
            self.completeness.check(step, values, is_last=step == self.steps)
            if step % self.log_every_steps == 0 or step == self.steps:
                self.log(step, {**scalars(values), **self.speed(step)})

    def restart_clock(self, step: int) -> None:
        self.clock = (time.perf_counter(), self.feed.wait_seconds, step)

    def speed(self, step: int) -> dict[str, float]:
        """Clips per second and the share of time spent waiting for data since the last line."""
        then, waited, last_step = self.clock
        now, waiting = time.perf_counter(), self.feed.wait_seconds
        self.clock = (now, waiting, step)
        elapsed = max(now - then, 1e-9)
        return {
            "clips_per_second": (step - last_step) * self.batch_size / elapsed,
            "data_wait_fraction": min((waiting - waited) / elapsed, 1.0),
        }


def scalars(values: dict[str, np.ndarray]) -> dict[str, float]:
    """What is written: one number per metric."""
    return {
        key: int(value) if np.issubdtype(value.dtype, np.integer) else float(value)
        for key, value in values.items()
        if value.ndim == 0
    }


def sync_processes(name: str) -> None:
    """Waits for the other processes, so that none leaves while another still needs it."""
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(name)
