"""One run of an ablation carried out: its stores, its training, and the result that is kept."""

import functools
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from etils import epath

from avssl.ablate.record import Facts, Result, Run
from avssl.data.lock import folder_lock
from avssl.errors import Preempted
from avssl.evaluate.results import commit, training
from avssl.evaluate.rows import read_json

LOG = "pretrain.log"
# Runs `avssl WORDS` into a log: its exit status, and whether somebody asked for a stop.
Call = Callable[[Sequence[str], Path], tuple[int, bool]]


def carry_out(run: Run, call: Call) -> str:
    """Trains and measures a run and keeps its result; why it failed, or nothing."""
    run.take_folder()
    lacking = next((one for one in run.needed if not one.is_trained()), None)
    if lacking is not None:
        failure = f"{lacking.name}, {part_in(run, lacking)}, is not trained"
    else:
        failure = write_stores(run, call) or train(run, call)
    if failure:
        run.take_folder(failure)
    return failure


def part_in(run: Run, other: Run) -> str:
    if other is run.start:
        return "which it starts from"
    return "which teaches it" if other in run.teachers.values() else "which sees its objects"


def write_stores(run: Run, call: Call) -> str:
    """Has the teachers say what they have to, where that is cached; why one could not, or nothing."""
    if not run.row.every_seconds:
        return ""
    for name, teacher in run.teachers.items():
        keys, store = run.config.teachers[name], run.store(name)
        log = teacher.folder / f"{store.name}.log"
        words = [
            "teach", "--teacher", str(teacher.folder), "--encoder", keys.encoder,
            "--data", run.config.data.source, "--out", str(store),
            "--targets", ",".join(keys.targets), "--every-seconds", str(run.row.every_seconds),
        ]  # fmt: skip
        # Of several runs at once that need it, one has it written.
        with folder_lock(epath.Path(f"{store}.lock"), what=str(store), wait=True):
            status, stopped = call(words, log)
        if stopped or status == Preempted.exit_code:
            raise Preempted(f"stopped while {teacher.name} taught; the same command goes on")
        if status:
            return why(status, log)
    return ""


def train(run: Run, call: Call) -> str:
    measured = run.folder / "eval.json"
    measured.unlink(missing_ok=True)  # of an earlier measurement
    code, began = commit(), time.monotonic()
    flags = [f"--config.{key}={text}" for key, text in run.overrides]
    if run.row.every_seconds:
        flags += [f"--config.teachers.{name}.store={run.store(name)}" for name in run.teachers]
    words = ["pretrain", "--config", run.row.config, "--workdir", str(run.folder), *flags]
    status, stopped = call(words, run.folder / LOG)
    wall_seconds = round(time.monotonic() - began, 1)
    if status == 0 and measured.is_file():
        took = training(run.folder)
        origin = Facts(code, machine(), took.steps, round(took.seconds, 1), wall_seconds)
        Result(run.row.name, run.seed, origin, run.identity, read_json(measured)).write(run.file)
    if stopped or status == Preempted.exit_code:
        raise Preempted(f"stopped during {run.name}; the same command goes on")
    if status == 0:
        return "" if measured.is_file() else f"nothing was measured, see {run.folder / LOG}"
    return why(status, run.folder / LOG)


def why(status: int, log: Path) -> str:
    """The sentence of a command that failed."""
    if status < 0:
        return f"ended by {signal.Signals(-status).name}, see {log}"
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    said = [line for line in lines if line.startswith("avssl: ")]
    return said[-1].removeprefix("avssl: ") if said else f"exit code {status}, see {log}"


@functools.cache
def machine() -> str:
    """As a process of its own sees it: this one must not take the accelerator from the runs."""
    program = "from avssl.evaluate.results import machine; print(machine())"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    return found.stdout.strip().rpartition("\n")[2] or "unknown machine"
