"""What an ablation is: rows that are trained, columns of numbers, and claims about them.

An ablation file is Python with `get_ablation(variant)`; configs/ablations/quick.py is a small one.
"""

import dataclasses
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from avssl.config import flatten
from avssl.config.file import function_in, line_of, load_config, words_of
from avssl.errors import AvsslError, UsageError, unknown
from avssl.evaluate.rows import is_fraction

BASELINES = ("random_init", "chance")
# Names of rows are names of folders and files.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.-]+")

# What no override of a row may state.
OF_FIELDS = {
    "seed": "seeds",
    "init_from": "start_from",
    "eval.object_encoder": "object_encoder",
}


@dataclasses.dataclass(frozen=True)
class AblationRow:
    """A config with overrides, trained once for each seed.

    `overrides`: pairs ("a.b", "value") or words "a.b=value", as after `--config.`. `start_from`: a row
    above, whose run of the same seed gives the parameters to start from (`init_from`). `teachers`: a row above
    for teachers of the config by name, whose run of the same seed teaches, or of its first where it has no such
    seed (`teachers.NAME.run`). `every_seconds`: they speak from stores, written before the first run that
    needs one by `avssl teach --every-seconds`; 0 is online, in the step. `object_encoder`: a row above whose
    run, the same as a teacher's, gives the maps of objects that `localization` fuses (`eval.object_encoder`).
    """

    name: str
    config: str  # FILE[:VARIANT]
    overrides: Sequence[str | tuple[str, str]] = ()
    seeds: Sequence[int] = (0,)
    start_from: str = ""
    teachers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    every_seconds: float = 0.0
    object_encoder: str = ""

    def pairs(self) -> list[tuple[str, str]]:
        """The overrides as pairs of a dotted key and a text."""
        pairs: list[tuple[str, str]] = []
        for override in self.overrides:
            key, equals, text = (
                override.partition("=")
                if isinstance(override, str)
                else (override[0], "=", override[1])
            )
            if not (key and equals):
                raise UsageError(f"row '{self.name}': the override {override!r} is not key=value")
            if field := OF_FIELDS.get(key):
                raise UsageError(f"row '{self.name}': '{key}' is given by its field {field}")
            pairs.append((key, text))
        return pairs


@dataclasses.dataclass(frozen=True)
class Column:
    """One number of every row's `eval.json`, and what the table calls it."""

    protocol: str
    features: str
    metric: str
    label: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        return self.protocol, self.features, self.metric

    @property
    def heading(self) -> str:
        return self.label or " ".join(self.key)


@dataclasses.dataclass(frozen=True)
class Cell:
    """The same number of one row."""

    row: str
    protocol: str
    features: str
    metric: str

    @property
    def key(self) -> tuple[str, str, str]:
        return self.protocol, self.features, self.metric


@dataclasses.dataclass(frozen=True)
class PartOfWay:
    """This fraction of the way from the claimed cell's own random initialisation to `cell`."""

    fraction: float
    cell: Cell


@dataclasses.dataclass(frozen=True)
class WithGain:
    """`cell`, and on top of it what `better` gains over `worse`, if it does: beaten by a larger gain here."""

    cell: Cell
    better: Cell
    worse: Cell


@dataclasses.dataclass(frozen=True)
class Claim:
    """`cell` > `above` (another cell, or a baseline of the cell itself), by `margin` at least.

    Of an error rate, and of all else that `less_is_better` names, it is `cell` < `above`.
    A number or a `PartOfWay` is a bar: reaching it is enough. All are fractions: 20 points are 0.2.
    """

    sentence: str
    cell: Cell
    above: Cell | PartOfWay | WithGain | float | Literal["random_init", "chance"]
    margin: float = 0.0

    def cells(self) -> list[Cell]:
        match self.above:
            case Cell():
                return [self.cell, self.above]
            case PartOfWay():
                return [self.cell, self.above.cell]
            case WithGain(cell, better, worse):
                return [self.cell, cell, better, worse]
        return [self.cell]


@dataclasses.dataclass(frozen=True)
class Published:
    """Numbers of papers, to stand below the measured ones: nothing here is compared with them."""

    source: str
    headings: Sequence[str]
    lines: Sequence[Sequence[str]]


@dataclasses.dataclass(frozen=True)
class Ablation:
    """A table of rows x columns, and what the papers claim of it.

    base: a row that the others are variations of. The best of each column is then set in bold, and what
    differs from the base by more than seeds do is marked. notes: sentences below the claims, such as why one of
    them does not hold.
    """

    rows: Sequence[AblationRow]
    columns: Sequence[Column]
    claims: Sequence[Claim] = ()
    title: str = ""  # of the section in RESULTS.md; empty: from the file's name
    published: Published | None = None
    base: str = ""
    notes: Sequence[str] = ()


def grid(
    config: str,
    choices: Mapping[str, Sequence[object]],
    *,
    overrides: Sequence[str | tuple[str, str]] = (),
    seeds: Sequence[int] = (0,),
) -> tuple[AblationRow, ...]:
    """A row for each combination of values of dotted keys, the last key changing fastest.

    grid(FILE, {"objectives.xid.temperature": (0.07, 0.2), "batch_size": (32, 64)}) has four rows, the first
    named `temperature-0.07+batch_size-32`.
    """
    rows = []
    for values in itertools.product(*choices.values()):
        pairs = [(key, str(value)) for key, value in zip(choices, values, strict=True)]
        name = "+".join(
            f"{key.rpartition('.')[2]}-{NOT_IN_NAMES.sub('_', text).strip('_')}"
            for key, text in pairs
        )
        rows.append(AblationRow(name, config, (*overrides, *pairs), seeds))
    return tuple(rows)


def variant_of(ablation: Ablation, variant: str) -> Ablation:
    """Applies the variant after the colon; every ablation has `quicktest`: seconds a row, one seed."""
    if not variant:
        return ablation
    if variant != "quicktest":
        raise unknown("variant", variant, ["quicktest"])
    return dataclasses.replace(ablation, rows=tuple(quicktest(row) for row in ablation.rows))


def quicktest(row: AblationRow) -> AblationRow:
    """The row on its config's own `quicktest`, without the overrides that would undo it."""
    file, _, variant = row.config.partition(":")
    quick = f"{file}:{'+'.join(filter(None, (variant, 'quicktest')))}"
    before, after = (flatten(load_config(name)) for name in (row.config, quick))
    kept = [(key, text) for key, text in row.pairs() if before.get(key) == after.get(key)]
    return dataclasses.replace(row, config=quick, overrides=kept, seeds=(0,))


def load_ablation(argument: str) -> tuple[str, Ablation]:
    """`FILE[:VARIANT]` to the ablation's name and itself, checked."""
    path, _, variant = argument.partition(":")
    file = Path(path)
    if not file.is_file():
        near = sorted(str(p) for p in Path("configs/ablations").glob("*.py"))
        raise unknown("ablation file", path, near)
    try:
        get_ablation = function_in(file, "get_ablation")
        if get_ablation is None:
            raise UsageError("it has no function get_ablation(variant)")
        ablation = get_ablation(variant)
        if not isinstance(ablation, Ablation):
            raise UsageError(f"get_ablation must return an Ablation, not {ablation!r}")
        check(ablation)
    except AvsslError as error:
        raise UsageError(f"ablation file '{path}': {error}") from error
    except Exception as error:
        where = line_of(error, file)
        raise UsageError(f"ablation file '{path}'{where}: {words_of(error)}") from error
    return f"{file.stem}-{variant}" if variant else file.stem, ablation


def check(ablation: Ablation) -> None:
    """Refuses what names nothing, before anything is trained."""
    for field, kind in (("rows", AblationRow), ("columns", Column), ("claims", Claim)):
        for entry in getattr(ablation, field):
            if not isinstance(entry, kind):
                raise UsageError(f"its {field} must be {kind.__name__}s, not {entry!r}")
    for note in ablation.notes:
        # Of a string as a whole, the first letter.
        if not isinstance(note, str) or isinstance(ablation.notes, str) or "\n" in note:
            raise UsageError(f"its notes must be several sentences, each of one line, not {note!r}")
    if not ablation.rows or not ablation.columns:
        raise UsageError("it needs at least one row and one column")
    seeds: dict[str, Sequence[int]] = {}
    for row in ablation.rows:
        check_row(row, seeds)
        seeds[row.name] = row.seeds
    for column in ablation.columns:
        check_protocol(column)
    check_distinct("column", [column.heading for column in ablation.columns])
    if ablation.base and ablation.base not in seeds:
        raise unknown("row that is the base", ablation.base, seeds)
    for claim in ablation.claims:
        check_claim(claim, seeds)


def check_row(row: AblationRow, above: dict[str, Sequence[int]]) -> None:
    """`above`: the seeds of the rows that stand before it."""
    if not NAME.fullmatch(row.name):
        raise UsageError(
            f"the row name '{row.name}' is no name of a folder (letters, digits, _.+-)"
        )
    check_distinct("row", [*above, row.name])
    if not row.seeds or not all(type(seed) is int and seed >= 0 for seed in row.seeds):
        raise UsageError(f"row '{row.name}': seeds must be whole numbers from 0, not {row.seeds!r}")
    check_distinct(f"seed of row '{row.name}'", list(row.seeds))
    row.pairs()
    check_teachers(row, above)
    if row.object_encoder and row.object_encoder not in above:
        raise unknown(f"row above '{row.name}' that sees its objects", row.object_encoder, above)
    if row.start_from:
        if row.start_from not in above:
            raise unknown(f"row above '{row.name}' to start from", row.start_from, above)
        if missing := set(row.seeds) - set(above[row.start_from]):
            raise UsageError(
                f"row '{row.name}' has seed {min(missing)}, which '{row.start_from}', "
                "where it starts from, has not"
            )


def check_teachers(row: AblationRow, above: Mapping[str, Sequence[int]]) -> None:
    for name, other in row.teachers.items():
        if other not in above:
            raise unknown(f"row above '{row.name}' that is its teacher '{name}'", other, above)


def check_claim(claim: Claim, rows: Iterable[str]) -> None:
    where = f"in the claim '{claim.sentence}'"
    if isinstance(claim.above, str) and claim.above not in BASELINES:
        raise unknown(f"baseline {where}", claim.above, BASELINES)
    for cell in claim.cells():
        if cell.row not in rows:
            raise unknown(f"row {where}", cell.row, rows)
        if not is_fraction(cell.metric):
            raise UsageError(f"{where}: '{cell.metric}' is not counted in points; take a fraction")
        check_protocol(cell)


def check_protocol(place: Column | Cell) -> None:
    from avssl.evaluate.protocols import PROTOCOLS

    if place.protocol not in PROTOCOLS:
        raise unknown("protocol", place.protocol, PROTOCOLS)


def check_distinct(kind: str, names: Sequence[object]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"the {kind} {name!r} is there twice")
