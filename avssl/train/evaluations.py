"""Evaluation during training: the table of a run's end, every so many steps, and a line of each in its folder.

Nothing of the training takes part in it: it looks at the state between two steps, draws from no key of theirs
and reads data through pipelines of its own.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax

from avssl.config import ConfigDict
from avssl.console import say
from avssl.errors import UsageError
from avssl.train.build_model import evaluation_model
from avssl.train.loop import sync_processes
from avssl.train.mesh import local_value, make_mesh, replicated
from avssl.train.runlog import Lines
from avssl.train.state import TrainState

if TYPE_CHECKING:
    from avssl.evaluate.measurement import Measurement
    from avssl.evaluate.rows import Row

HISTORY = "eval_history.jsonl"


class StepEvaluations:
    """Every `eval.every_steps` steps the protocols of the config, on the weights of that moment.

    Process 0 measures, on its own devices, while the others wait, as at the end of a run; they are needed only
    where arrays are split over processes. A step that has its line is not measured again, so that a resumed run
    has each step once: lines of steps after the checkpoint are cut off, and come again.

    at_once: around the measuring, which it may end: the loop has saved the step, and a run that goes on from it
    measures it first.
    """

    def __init__(
        self,
        config: ConfigDict,
        workdir: Path,
        resume_step: int,
        at_once: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
    ):
        self.config = config
        self.at_once = at_once
        self.every = config.eval.get("every_steps") if config.eval.protocols else None
        self.measurement: Measurement | None = None
        self.possible = True
        self.lines: Lines | None = None
        # A history that is there is cut whether it goes on or not.
        if jax.process_index() == 0 and (self.every or (workdir / HISTORY).exists()):
            self.lines = Lines(workdir / HISTORY, resume_step)

    def due(self, step: int) -> bool:
        """The same on every process. The last step has the table of the end."""
        return bool(self.every) and 0 < step < self.config.steps and step % self.every == 0

    def __call__(self, step: int, state: TrainState) -> None:
        variables = on_this_process(self.looked_at(state), self.config)
        # What connects the processes has to be there before one of them is away for long.
        sync_processes(f"evaluating step {step}")
        with self.at_once():
            if self.lines is not None and self.possible and step not in self.lines.steps():
                try:
                    self.lines.append(line_of(step, self.measured(step, variables)))
                except UsageError as error:
                    # As at the end: the training goes on, whatever its data allow to be measured.
                    say(f"no table of results at step {step} nor later: {error}")
                    self.possible = False
            sync_processes(f"evaluated step {step}")

    def looked_at(self, state: TrainState) -> dict[str, Any]:
        from avssl.evaluate.run import evaluated_items

        held = state.variables()
        return {name: held[name] for name in evaluated_items(evaluation_model(self.config))}

    def measured(self, step: int, variables: Any) -> list["Row"]:
        from avssl.evaluate.results import command
        from avssl.evaluate.rows import print_table
        from avssl.evaluate.run import planned

        if self.measurement is None:
            self.measurement = planned(self.config)
        rows = self.measurement(variables, f"step {step}")[0] if self.measurement else []
        if not rows:
            raise UsageError("the data allow none of eval.protocols")
        print_table(rows, command())
        return rows

    def close(self) -> None:
        if self.lines is not None:
            self.lines.close()

    def __enter__(self) -> "StepEvaluations":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def line_of(step: int, rows: Sequence["Row"]) -> dict[str, Any]:
    return {"step": step, "rows": [dataclasses.asdict(row) for row in rows]}


def write_last(workdir: Path, step: int, rows: Sequence["Row"]) -> None:
    """The table of the end as the last line, in place of an earlier one."""
    lines = Lines(workdir / HISTORY, step - 1)
    lines.append(line_of(step, rows))
    lines.close()


def on_this_process(variables: Any, config: ConfigDict) -> Any:
    """Arrays that this process can use alone; to be called on all of them."""
    if jax.process_count() == 1:
        return variables
    if not all(leaf.is_fully_replicated for leaf in jax.tree.leaves(variables)):
        sharding = replicated(make_mesh(config.parallel.fsdp))
        variables = jax.jit(lambda tree: tree, out_shardings=sharding)(variables)
    return jax.tree.map(local_value, variables)
