"""One run of an ablation: its config, its folder, and the result that is kept of it.

Run folders are large and stay where they were made. The results are small and lie beside the ablation file, to
be committed: a machine that has them goes on with what is missing.
"""

import dataclasses
import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from avssl.ablate.plan import Ablation, AblationRow
from avssl.config import (
    ConfigDict,
    changed_keys,
    flatten,
    load_config,
    override,
    resolve,
    to_json,
)
from avssl.config.compare import FREE_KEYS, is_free, is_of_evaluation
from avssl.console import say
from avssl.errors import UsageError
from avssl.evaluate.rows import Row, write_whole

# What a run was measured with belongs to its result, though it does not bind the run folder.
FREE = tuple(key for key in FREE_KEYS if key != "eval.")
NOTE = "ablation.json"


@dataclasses.dataclass(frozen=True)
class Facts:
    """Where a result comes from."""

    commit: str
    machine: str
    steps: int
    train_seconds: float  # of all steps, whenever the run was stopped and went on
    wall_seconds: float  # of the command that ended it, with compilation and evaluation


@dataclasses.dataclass(frozen=True)
class Result:
    """The numbers of a finished run, with every key of its config that moves them."""

    row: str
    seed: int
    facts: Facts
    config: dict[str, Any]
    rows: list[Row]

    def write(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(dataclasses.asdict(self), indent=1, allow_nan=False)
        write_whole(file, text + "\n", f"{file.parent} must be a folder that can be written")


def read_result(file: Path) -> Result | None:
    if not file.is_file():
        return None
    values = read_object(file)
    try:
        values["rows"] = [Row(**row) for row in values["rows"]]
        values["facts"] = Facts(**values["facts"])
        return Result(**values)
    except (ValueError, KeyError, TypeError) as error:
        raise damaged(file, error) from error


def read_object(file: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise damaged(file, error) from error


def damaged(file: Path, error: Exception) -> UsageError:
    return UsageError(
        f"{file} is damaged ({type(error).__name__}: {error}); put back a copy of it, or remove it "
        "to have that run repeated"
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """One row with one seed."""

    row: AblationRow
    seed: int
    overrides: list[tuple[str, str]]
    config: ConfigDict
    folder: Path
    file: Path  # of its result
    start: "Run | None"
    teachers: "Mapping[str, Run]"
    objects: "Run | None"

    def store(self, name: str) -> Path:
        """Where the targets of a teacher lie that does not speak online."""
        teacher = self.config.teachers[name]
        made_of = {
            "data": self.config.data.source,
            "encoder": teacher.encoder,
            "targets": list(teacher.targets),
            "every_seconds": self.row.every_seconds,
        }
        digest = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:12]
        return self.teachers[name].folder / f"targets-{digest}"

    @property
    def needed(self) -> "list[Run]":
        """The runs whose folders this one reads."""
        others = [self.start, *self.teachers.values(), self.objects]
        return [one for one in others if one is not None]

    @property
    def name(self) -> str:
        return f"{self.row.name} seed {self.seed}"

    @cached_property
    def training(self) -> dict[str, Any]:
        """Every key that moves a number of the training; for `init_from` those of the run named there.

        A teacher is its hash, wherever it lies, or the training of the row that it is.
        """
        keys = {
            key: value for key, value in flatten(to_json(self.config)).items() if not is_free(key)
        }
        for name, one in self.teachers.items():
            keys[f"teachers.{name}.hash"] = {
                **one.training,
                "every_seconds": self.row.every_seconds,
            }
        return keys if self.start is None else {**keys, "init_from": self.start.training}

    @cached_property
    def identity(self) -> dict[str, Any]:
        """The same, with what it is measured with."""
        whole = flatten(to_json(self.config))
        measured = {key: value for key, value in whole.items() if is_of_evaluation(key)}
        if self.objects is not None:
            measured["eval.object_encoder"] = self.objects.training
        return {**self.training, **measured}

    def result(self) -> Result | None:
        """The result, if it is one of this very config."""
        found = read_result(self.file)
        return None if found is None or changed_keys(found.config, self.identity) else found

    def changed(self) -> list[str]:
        """The keys in which a result that is there differs."""
        found = read_result(self.file)
        return [] if found is None else changed_keys(found.config, self.identity)

    def failure(self) -> str:
        """Why this run failed when it was last tried with this config."""
        return self._note().get("failed", "") if self.is_ours() else ""

    def is_ours(self) -> bool:
        """Whether the run folder holds this config's run, and not an earlier one's."""
        config = self._note().get("config")
        return config is not None and not changed_keys(config, self.training)

    def step(self) -> int:
        """The newest checkpoint's."""
        from avssl.train.checkpoint_reader import CheckpointReader

        steps = CheckpointReader(self.folder / "checkpoints").steps() if self.is_ours() else []
        return steps[-1] if steps else 0

    def is_trained(self) -> bool:
        return self.step() >= self.config.steps

    def take_folder(self, failure: str = "") -> None:
        """Makes the run folder this config's; that of another config is moved aside."""
        if not self.is_ours() and self.folder.exists():
            number = len(list(self.folder.parent.glob(f"{self.folder.name}.replaced-*"))) + 1
            aside = self.folder.with_name(f"{self.folder.name}.replaced-{number}")
            self.folder.rename(aside)
            say(f"{self.folder} held something else, which is now {aside}")
        self.folder.mkdir(parents=True, exist_ok=True)
        note = {"config": self.training, **({"failed": failure} if failure else {})}
        write_whole(
            self.folder / NOTE, json.dumps(note, indent=1) + "\n", "choose another --workdir"
        )

    def _note(self) -> dict[str, Any]:
        file = self.folder / NOTE
        return read_object(file) if file.is_file() else {}


def build_runs(
    ablation: Ablation, workdir: Path, results: Path, overrides: Iterable[tuple[str, str]] = ()
) -> list[Run]:
    """Every row with every seed: the first seed of all rows, then the second of those that have one."""
    overrides = list(overrides)
    for key, _ in overrides:
        if not key.startswith(FREE):
            free = ", ".join(f"{key}*" if key.endswith(".") else key for key in FREE)
            raise UsageError(
                f"--config.{key} may move the numbers: change it in the ablation file; here only "
                f"{free} can be set"
            )
    runs: dict[tuple[str, int], Run] = {}
    for row in ablation.rows:
        for seed in row.seeds:
            start = runs[row.start_from, seed] if row.start_from else None
            teachers = {name: of_seed(runs, other, seed) for name, other in row.teachers.items()}
            objects = of_seed(runs, row.object_encoder, seed) if row.object_encoder else None
            runs[row.name, seed] = build_run(
                row, seed, start, teachers, objects, overrides, workdir, results
            )
    return sorted(runs.values(), key=lambda run: run.row.seeds.index(run.seed))


def of_seed(runs: Mapping[tuple[str, int], Run], row: str, seed: int) -> Run:
    """The run of a row with this seed, or else with its first."""
    first = next(run for (name, _), run in runs.items() if name == row)
    return runs.get((row, seed), first)


def build_run(
    row: AblationRow,
    seed: int,
    start: Run | None,
    teachers: Mapping[str, Run],
    objects: Run | None,
    overrides: Sequence[tuple[str, str]],
    workdir: Path,
    results: Path,
) -> Run:
    pairs = [*row.pairs(), *overrides, ("seed", str(seed))]
    if start is not None:
        pairs.append(("init_from", str(start.folder)))
    if objects is not None:
        pairs.append(("eval.object_encoder", str(objects.folder)))
    pairs += [(f"teachers.{name}.run", str(one.folder)) for name, one in teachers.items()]
    try:
        config = load_config(row.config)
        override(config, pairs)
        config = resolve(config)
        check_teachers(config, teachers)
    except UsageError as error:
        raise UsageError(f"row '{row.name}': {error}") from error
    folder, file = workdir / row.name / f"seed-{seed}", results / f"{row.name}-seed{seed}.json"
    return Run(row, seed, pairs, config, folder, file, start, teachers, objects)


def check_teachers(config: ConfigDict, from_rows: Collection[str]) -> None:
    """Refuses a teacher that is known by a path alone: what lies there may change under a finished result."""
    for name, teacher in config.teachers.items():
        if name not in from_rows and (teacher.run or teacher.store) and not teacher.hash:
            raise UsageError(
                f"teachers.{name} is {teacher.store or teacher.run}, whatever lies there: state its hash "
                f"(teachers.{name}.hash), which `avssl pretrain` prints at its start"
            )
