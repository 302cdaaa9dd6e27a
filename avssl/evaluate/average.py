"""Folds and seeds: the mean over run folders of what stands in their `eval.json`.

UCF101 and HMDB51 have three splits, ESC-50 five folds. A published number is the mean of those of the folds,
each of which counts alike, however many clips it has. Runs of several seeds are averaged the same way.
"""

import re
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from avssl.config import changed_keys, flatten, run_config, to_json
from avssl.config.compare import is_free, is_of_evaluation
from avssl.console import say
from avssl.errors import UsageError
from avssl.evaluate.results import command, facts_of, write_results
from avssl.evaluate.rows import Row, print_table, read_json, write_json

# Which fold a run is of, from which run it started, and which draws it made.
FOLD = ("data.source", "eval.data", "eval.test_data", "init_from", "seed")
# Other runs that it asks, which may be of its own fold or seed.
OTHER_RUNS = re.compile(r"teachers\.[^.]+\.hash|eval\.object_encoder")

Key = tuple[str, str, str]


def average_folders(
    folders: Sequence[Path],
    *,
    json_file: Path | None = None,
    results: Path | None = None,
    title: str = "",
) -> list[Row]:
    """Prints the mean and the standard deviation (n - 1) of each number of some runs' `eval.json`.

    The `n` of a mean is that of all runs together. Runs may differ in their data, start, seed, teachers and
    `eval.object_encoder` alone.
    """
    check_folds(folders)
    found = [rows_in(folder) for folder in folders]
    rows = [mean_row([of_run[key] for of_run in found]) for key in shared(folders, found)]
    if not rows:
        raise UsageError(f"no number is in the eval.json of all of {named(folders)}")
    print_table(rows, command())
    over = f"mean ± standard deviation (n - 1) over {len(folders)} runs: {named(folders)}"
    say(over)
    if json_file is not None:
        write_json(json_file, rows, command())
    if results is not None:
        title = title or f"Mean of {named(folders)}"
        write_results(results, title, rows, [over, *facts_of_all(folders)])
        say(f"wrote the section '{title}' of {results}")
    return rows


def named(folders: Sequence[Path]) -> str:
    return ", ".join(folder.name for folder in folders)


def check_folds(folders: Sequence[Path]) -> None:
    """Refuses runs that are no folds of one thing, and one that is there twice."""
    if len(folders) < 2:
        raise UsageError("--average takes several run folders: --workdir RUN1 RUN2 ...")
    configs = [flatten(to_json(run_config(folder))) for folder in folders]
    for number, (folder, config) in enumerate(zip(folders, configs, strict=True)):
        changed = [key for key in changed_keys(configs[0], config) if not may_differ(key)]
        if changed:
            first, other = (shown(one, changed[0]) for one in (configs[0], config))
            raise UsageError(
                f"{folder} is no other fold of what {folders[0]} is: {changed[0]} is {other} and not {first}"
            )
        for earlier, before in zip(folders[:number], configs, strict=False):
            if fold_of(before) == fold_of(config):
                raise UsageError(f"{earlier} and {folder} are the same fold with the same seed")


def may_differ(key: str) -> bool:
    if OTHER_RUNS.fullmatch(key):
        return True
    if is_of_evaluation(key):
        # Every row says its protocol, and one that not all runs have is left out.
        return key in (*FOLD, "eval.protocols")
    return key in FOLD or is_free(key)


def shown(config: Mapping[str, Any], key: str) -> str:
    return str(config.get(key, "absent"))


def fold_of(config: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(config.get(key) for key in FOLD)


def rows_in(folder: Path) -> dict[Key, Row]:
    file = folder / "eval.json"
    if not file.is_file():
        raise UsageError(
            f"{folder} has no eval.json: measure it first with `avssl evaluate --workdir {folder}`"
        )
    try:
        return {(row.protocol, row.features, row.metric): row for row in read_json(file)}
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{file} is damaged ({type(error).__name__}: {error}); write it anew with "
            f"`avssl evaluate --workdir {folder}`"
        ) from error


def shared(folders: Sequence[Path], found: Sequence[Mapping[Key, Row]]) -> list[Key]:
    """The numbers that all runs have, in the order of the first; what only some have is said."""
    everywhere = [key for key in found[0] if all(key in of_run for of_run in found)]
    every = dict.fromkeys(key for of_run in found for key in of_run)
    for key in every:
        lacking = [f for f, of_run in zip(folders, found, strict=True) if key not in of_run]
        if lacking:
            say(f"left out: {' '.join(key)}, which {named(lacking)} has not")
    return everywhere


def mean_row(rows: Sequence[Row]) -> Row:
    random = [row.random_init for row in rows if row.random_init is not None]
    return Row(
        rows[0].protocol,
        rows[0].features,
        rows[0].metric,
        value=statistics.mean(row.value for row in rows),
        random_init=statistics.mean(random) if random else None,
        chance=statistics.mean(row.chance for row in rows),
        n=sum(row.n for row in rows),
        spread=statistics.stdev(row.value for row in rows),
    )


def facts_of_all(folders: Sequence[Path]) -> list[str]:
    """Seed and training of each run, then the code and the machine that they share."""
    each = [facts_of(folder, run_config(folder).seed) for folder in folders]
    own = [f"{folder.name}: {trained}" for folder, (trained, *_) in zip(folders, each, strict=True)]
    return [*own, *each[0][1:]]
