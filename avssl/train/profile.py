"""`--profile steps=10:15`: a trace of some steps of a run, for TensorBoard, XProf or Perfetto."""

from pathlib import Path
from typing import Any

import jax

from avssl.console import say, warn
from avssl.errors import UsageError

# The first and the last step, as the logs count them.
Steps = tuple[int, int]


def check_steps(steps: Steps | None, total: int) -> None:
    if steps is not None and steps[1] > total:
        raise UsageError(
            f"--profile steps={steps[0]}:{steps[1]}: the run has {total} steps (config.steps)"
        )


def tracer_options() -> jax.profiler.ProfileOptions:
    options = jax.profiler.ProfileOptions()
    # Each Python call would be an event, and slow what is measured.
    options.python_tracer_level = 0
    return options


class StepProfile:
    """Traces the steps of a run between `begin` and `end`; without `steps` it does nothing.

    Process 0 traces, its own devices alone: all of them run the same program, and of a pod each process would
    write as much again.
    """

    def __init__(self, steps: Steps | None, folder: Path, start: int):
        """start: the step that the run goes on from."""
        self.folder = folder
        self.steps = steps if jax.process_index() == 0 else None
        self.traces = False
        self.mark: Any = None
        if self.steps is not None and start >= self.steps[1]:
            say(f"no profile: the run goes on after step {start}, and {self.steps[1]} is behind it")
            self.steps = None

    def begin(self, step: int, state: Any) -> None:
        if self.steps is None or not self.steps[0] <= step <= self.steps[1]:
            return
        if not self.traces:
            # Nothing of the steps before is under way then.
            jax.block_until_ready(state)
            jax.profiler.start_trace(self.folder, profiler_options=tracer_options())
            self.traces = True
        self.mark = jax.profiler.StepTraceAnnotation("train", step_num=step)
        self.mark.__enter__()

    def end(self, step: int, state: Any) -> None:
        if not self.traces:
            return
        self.close_step()
        if self.steps is not None and step == self.steps[1]:
            jax.block_until_ready(state)
            self.close()

    def close_step(self) -> None:
        if self.mark is not None:
            self.mark.__exit__(None, None, None)
            self.mark = None

    def close(self) -> None:
        """Writes what was traced, also of a run that stops earlier."""
        if self.traces:
            self.close_step()
            self.traces = False
            try:
                jax.profiler.stop_trace()
            except RuntimeError as error:
                # A full disk, for one: the training needs no trace.
                warn(f"no profile was written into {self.folder}: {error}")
            else:
                say(f"profile: {self.folder}")

    def __enter__(self) -> "StepProfile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
