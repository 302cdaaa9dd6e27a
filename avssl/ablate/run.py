"""`avssl ablate`: every row of an ablation, each run in a process of its own, one at a time.

A run that is finished is not repeated, and one that was stopped goes on. One that fails says why; it does not
keep the others from running.
"""

import functools
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import FrameType

from avssl.ablate.plan import Ablation, load_ablation
from avssl.ablate.record import Facts, Result, Run, build_runs
from avssl.ablate.table import Standing, facts, tables
from avssl.console import say
from avssl.errors import AvsslError, Preempted, UsageError, unknown
from avssl.evaluate.results import commit, training, write_section
from avssl.evaluate.rows import read_json
from avssl.train.preemption import SIGNALS, stopping_at_once

LOG = "pretrain.log"


def ablate(
    argument: str,
    workdir: Path,
    *,
    results: Path,
    rows: Sequence[str] = (),
    seeds: Sequence[int] = (),
    overrides: Iterable[tuple[str, str]] = (),
    dry_run: bool = False,
) -> None:
    """Runs what is missing of the chosen rows and seeds (none: all) and writes the whole table.

    `overrides` hold for every row, and may name only keys that move no number.
    """
    name, ablation = load_ablation(argument)
    path, _, variant = argument.partition(":")
    runs = build_runs(ablation, workdir, Path(path).parent / "results" / name, overrides)
    chosen = choose(runs, rows, seeds)
    missing = to_do(chosen)
    if dry_run:
        for run in dict.fromkeys([*chosen, *missing]):
            say(f"{run.name}: {outlook(run, run in missing)}")
        say(f"runs to do: {len(missing)}")
        return
    title = ablation.title or f"Ablation {Path(path).stem}"
    title = f"{title} ({variant})" if variant else title
    # Before the first run as well: a place that cannot be written is refused now and not after hours.
    write_table(results, title, ablation, runs)
    with stopping_at_once():
        failed = run_all(missing, lambda: write_table(results, title, ablation, runs))
    say(f"wrote the section '{title}' of {results}")
    if failed:
        raise AvsslError(
            f"{len(failed)} of {len(missing)} runs failed: {', '.join(run.name for run in failed)}; "
            f"{results} says why, and the same command tries them again"
        )


def choose(runs: list[Run], rows: Sequence[str], seeds: Sequence[int]) -> list[Run]:
    names = {run.row.name for run in runs}
    for row in rows:
        if row not in names:
            raise unknown("row", row, names)
    known = sorted({run.seed for run in runs})
    for seed in seeds:
        if seed not in known:
            raise UsageError(f"no row has seed {seed}; known: {', '.join(map(str, known))}")
    return [
        run
        for run in runs
        if (not rows or run.row.name in rows) and (not seeds or run.seed in seeds)
    ]


def to_do(chosen: Iterable[Run]) -> list[Run]:
    """The unfinished ones, each after those that it starts from or is taught by, if not trained here."""

    def chain(run: Run) -> list[Run]:
        before = [one for one in run.needed if not one.is_trained()]
        return [*(link for one in before for link in chain(one)), run]

    unfinished = [run for run in chosen if run.result() is None]
    # The same run may be the start of several.
    return list(dict.fromkeys(run for last in unfinished for run in chain(last)))


def outlook(run: Run, due: bool) -> str:
    """What is there of a run and what would be done."""
    if not due:
        return f"finished ({run.file})"
    words = [f"step {run.step()} of {run.config.steps} is there" if run.step() else "to be trained"]
    if run.start is not None:
        words.append(f"from the parameters of {run.start.name}")
    if run.result() is not None:
        words.append("again, as its run folder is not here and others need it")
    elif changed := run.changed():
        words.append(f"again, as its result is of another config ({', '.join(changed)})")
    if failure := run.failure():
        words.append(f"failed before: {failure}")
    return "; ".join(words)


def run_all(missing: list[Run], after_each: Callable[[], None]) -> list[Run]:
    """Those that failed."""
    failed = []
    if missing:
        say(f"runs to do: {len(missing)}; what each says is in {LOG} of its run folder")
    for number, run in enumerate(missing, 1):
        began = time.monotonic()
        failure = carry_out(run)
        if failure:
            failed.append(run)
        after_each()
        end = f"failed: {failure}" if failure else "done"
        say(f"[{number}/{len(missing)}] {run.name}, {time.monotonic() - began:.0f} s: {end}")
    return failed


def carry_out(run: Run) -> str:
    """Trains and measures a run and keeps its result; why it failed, or nothing."""
    run.take_folder()
    lacking = next((one for one in run.needed if not one.is_trained()), None)
    if lacking is not None:
        part = "which it starts from" if lacking is run.start else "which teaches it"
        failure = f"{lacking.name}, {part}, is not trained"
    else:
        failure = write_stores(run) or train(run)
    if failure:
        run.take_folder(failure)
    return failure


def write_stores(run: Run) -> str:
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
        status, stopped = call(words, log)
        if stopped or status == Preempted.exit_code:
            raise Preempted(f"stopped while {teacher.name} taught; the same command goes on")
        if status:
            return why(status, log)
    return ""


def train(run: Run) -> str:
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
        steps, seconds = training(run.folder)
        origin = Facts(code, machine(), steps, round(seconds, 1), wall_seconds)
        Result(run.row.name, run.seed, origin, run.identity, read_json(measured)).write(run.file)
    if stopped or status == Preempted.exit_code:
        raise Preempted(f"stopped during {run.name}; the same command goes on")
    if status == 0:
        return "" if measured.is_file() else f"nothing was measured, see {run.folder / LOG}"
    return why(status, run.folder / LOG)


def call(words: Sequence[str], log: Path) -> tuple[int, bool]:
    """`avssl` in a process of its own: its exit status, and whether somebody asked for a stop.

    A request goes on to the process, which saves before it ends.
    """
    requests: list[int] = []
    process: subprocess.Popen | None = None

    def pass_on(number: int, _frame: FrameType | None) -> None:
        requests.append(number)
        if process is not None:
            process.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in SIGNALS}
    command = [sys.executable, "-m", "avssl.cli", *words]
    try:
        with open(log, "wb") as file:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT
            )
            if requests:  # between the two lines above
                process.send_signal(requests[0])
            try:
                return process.wait(), bool(requests)
            except BaseException:  # Ctrl-C: nobody would look after it
                process.terminate()
                process.wait()
                raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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


def write_table(file: Path, title: str, ablation: Ablation, runs: list[Run]) -> None:
    standings = [Standing(run, run.result(), run.failure()) for run in runs]
    write_section(file, title, facts(standings), tables(ablation, standings))
