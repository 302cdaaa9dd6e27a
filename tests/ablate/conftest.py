"""Ablations of a config of milliseconds, whose trainings are pretended unless a test says otherwise."""

import json

import pytest

from avssl.ablate import work
from avssl.ablate.processes import Processes

TEXT = """
from avssl.ablate.plan import Ablation, AblationRow, Cell, Claim, Column, PartOfWay

KNN = ("knn", "video", "top1")
CONFIG = "tests/train/tiny_config.py"

def get_ablation(variant=""):
    return Ablation(rows=({rows}), columns=(Column(*KNN, label="kNN"),), claims=({claims}))
"""


@pytest.fixture
def write_ablation(tmp_path):
    """Writes an ablation file of these rows and claims, each a piece of Python."""

    def write(*rows, claims=()):
        file = tmp_path / "plan" / "small.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(TEXT.format(rows=listed(rows), claims=listed(claims)))
        return file

    return write


def listed(pieces):
    return "".join(f"{piece}, " for piece in pieces)


@pytest.fixture
def ablate(run, tmp_path):
    """The command on that file; its exit code, what it printed, what it complained."""

    def call(file, *flags):
        words = ("--config", file, "--workdir", tmp_path / "runs", "--results", tmp_path / "R.md")
        return run("ablate", *words, *flags)

    return call


class Pretended:
    """Stands in for `avssl pretrain`: keeps the commands, and leaves the folder a run leaves."""

    def __init__(self):
        self.trained = []
        self.taught = []
        self.failing = {}  # ROW/seed-S to the exit status
        self.values = {}  # ROW/seed-S to the top-1
        self.steps = 40

    def __call__(self, words, log):
        folder = log.parent
        if words[0] == "teach":
            self.taught.append(words)
            return 0, False
        name = f"{folder.parent.name}/{folder.name}"
        self.trained.append((name, [word for word in words if word.startswith("--config.")]))
        if status := self.failing.get(name, 0):
            log.write_text("start: scratch\navssl: step 3: the loss is not finite\n")
            return status, False
        (folder / "checkpoints" / str(self.steps)).mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps({"batch_size": 8}))
        line = {"step": self.steps, "clips_per_second": 16.0, "data_wait_fraction": 0.0}
        (folder / "metrics.jsonl").write_text(json.dumps(line) + "\n")
        row = dict(protocol="knn", features="video", metric="top1", random_init=0.2, chance=0.1)
        row |= {"value": self.values.get(name, 0.5), "n": 100}
        (folder / "eval.json").write_text(json.dumps({"rows": [row]}))
        return 0, False

    def names(self):
        """What was trained since the last look."""
        names = [name for name, _ in self.trained]
        self.trained.clear()
        return names


@pytest.fixture
def pretended(monkeypatch):
    stand_in = Pretended()
    monkeypatch.setattr(Processes, "call", lambda self, words, log: stand_in(words, log))
    monkeypatch.setattr(work, "machine", lambda: "a machine")
    return stand_in
