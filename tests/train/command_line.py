"""Runs of `avssl pretrain` in processes of their own, and what their folders hold."""

import dataclasses
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from avssl.train.checkpoint_reader import CheckpointReader

ROOT = Path(__file__).parents[2]
CONFIG = Path(__file__).with_name("tiny_config.py")
ITEMS = ("params", "opt_state", "batch_stats", "memory", "ema", "counters")
# Those of the clock: everything else in a line of metrics is a number of the run.
SPEED = ("clips_per_second", "data_wait_fraction")
# Starting takes three seconds on a free machine.
TIMEOUT_SECONDS = 120


@dataclasses.dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


class Run:
    """A started run. What it says goes to files, so that it never waits for a reader."""

    def __init__(
        self, workdir: Path, *flags: str, launcher: Iterable[str] = (), **environment: str
    ):
        self.workdir = workdir
        workdir.parent.mkdir(parents=True, exist_ok=True)
        command = [
            *launcher, sys.executable, "-m", "avssl.cli", "pretrain", "--config", str(CONFIG),
            "--workdir", str(workdir), *flags,
        ]  # fmt: skip
        # Without what tests/conftest.py sets for its own eight devices.
        inherited = {key: value for key, value in os.environ.items() if key != "NPROC"}
        self._out, self._err = (workdir.with_suffix(kind) for kind in (".out", ".err"))
        with open(self._out, "wb") as out, open(self._err, "wb") as err:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env={**inherited, **environment}, stdout=out, stderr=err
            )

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def wait_for(self, holds: Any, what: str) -> None:
        """Looks a thousand times a second."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while not holds():
            assert self.process.poll() is None, f"ended before {what}: {self.end()}"
            assert time.monotonic() < deadline, f"{what} did not come: {self.said()}"
            time.sleep(0.001)

    def wait_for_step(self, step: int) -> None:
        self.wait_for(lambda: last_step(self.workdir) >= step, f"step {step}")

    def end(self, timeout: float = TIMEOUT_SECONDS) -> Ended:
        return Ended(self.process.wait(timeout), *self.said())

    def said(self) -> tuple[str, str]:
        return self._out.read_text(), self._err.read_text()


def pretrain(workdir: Path, *flags: str, code: int = 0, **settings: Any) -> Ended:
    """A run from start to end."""
    with Run(workdir, *flags, **settings) as run:
        ended = run.end()
    assert ended.code == code, ended
    return ended


def last_step(workdir: Path) -> int:
    """The last whole line of the metrics, while they are written."""
    try:
        lines = (workdir / "metrics.jsonl").read_bytes().rpartition(b"\n")[0].splitlines()
    except FileNotFoundError:
        return 0
    return json.loads(lines[-1])["step"] if lines else 0


def metrics(workdir: Path) -> dict[int, dict[str, Any]]:
    """Every line, by step, without those of the clock; each step once and in order."""
    text = (workdir / "metrics.jsonl").read_text()
    assert text.endswith("\n")
    rows = [json.loads(line) for line in text.splitlines()]
    assert [row["step"] for row in rows] == sorted({row["step"] for row in rows})
    return {row.pop("step"): {k: v for k, v in row.items() if k not in SPEED} for row in rows}


def final_state(workdir: Path) -> tuple[int, dict[str, np.ndarray]]:
    """The newest step and all arrays of its checkpoint by name."""
    reader = CheckpointReader(workdir / "checkpoints")
    step = reader.latest()
    assert step is not None
    held = [name for name in ITEMS if name in reader.items(step)]
    return step, flat(reader.restore_host(step, held))


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, np.ndarray]:
    named: dict[str, np.ndarray] = {}
    for key, value in tree.items():
        named.update(
            flat(value, f"{prefix}{key}/") if isinstance(value, dict) else {f"{prefix}{key}": value}
        )
    return named


def assert_identical(workdir: Path, reference: Path) -> None:
    """Bit for bit: the lines that both have, the last line, and the final state."""
    ours, theirs = metrics(workdir), metrics(reference)
    assert max(ours) == max(theirs)
    assert ours == {step: theirs[step] for step in ours}
    (step, state), (reference_step, reference_state) = final_state(workdir), final_state(reference)
    assert step == reference_step
    assert state.keys() == reference_state.keys()
    for name, array in state.items():
        np.testing.assert_array_equal(array, reference_state[name], err_msg=name)


def assert_close(workdir: Path, reference: Path, tolerance: float) -> None:
    """Losses of all steps and the final parameters and statistics."""
    ours, theirs = metrics(workdir), metrics(reference)
    assert ours.keys() == theirs.keys()
    losses, expected = ([rows[step]["loss"] for step in sorted(rows)] for rows in (ours, theirs))
    np.testing.assert_allclose(losses, expected, rtol=0, atol=tolerance)
    (step, state), (reference_step, reference_state) = final_state(workdir), final_state(reference)
    assert step == reference_step
    assert state.keys() == reference_state.keys()
    for name, array in state.items():
        np.testing.assert_allclose(
            array, reference_state[name], rtol=0, atol=tolerance, err_msg=name
        )


def temporary_folders(workdir: Path) -> list[str]:
    """What a save under way or a killed one leaves: Orbax's names and ours."""
    folder = workdir / "checkpoints"
    return [name for name in os.listdir(folder) if "tmp" in name] if folder.is_dir() else []


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


def pair(child: str, *arguments: object) -> list[subprocess.Popen]:
    """Two processes of a program beside the tests: its first arguments are where they join, and who it is."""
    address = f"localhost:{free_port()}"
    program = str(Path(__file__).with_name(child))
    return [
        subprocess.Popen(
            [sys.executable, program, address, str(number), *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]


def end(processes: Iterable[subprocess.Popen]) -> None:
    for process in processes:
        process.kill()
        process.communicate()


def start_line(ended: Ended) -> str:
    """What the run said it started from."""
    (line,) = [
        line for line in ended.out.splitlines() if line.removeprefix("[0] ").startswith("start: ")
    ]
    return line.removeprefix("[0] ")
