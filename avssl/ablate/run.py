"""`avssl ablate`: every row of an ablation, each run in a process of its own.

A run that is finished is not repeated, and one that was stopped goes on. One that fails says why; it does not
keep the others from running.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from avssl.ablate.exports import write_exports
from avssl.ablate.measured import Standing
from avssl.ablate.plan import Ablation, load_ablation
from avssl.ablate.record import Run, build_runs
from avssl.ablate.schedule import (
    choose,
    expected_seconds,
    outlook,
    parts,
    run_all,
    shard_of,
    to_do,
)
from avssl.ablate.slurm import write_array_job
from avssl.ablate.table import facts, tables
from avssl.console import say
from avssl.errors import AvsslError
from avssl.evaluate.results import write_section
from avssl.train.preemption import stopping_at_once


def ablate(
    argument: str,
    workdir: Path,
    *,
    results: Path,
    rows: Sequence[str] = (),
    seeds: Sequence[int] = (),
    overrides: Iterable[tuple[str, str]] = (),
    jobs: int = 1,
    shard: tuple[int, int] | None = None,
    out: Path | None = None,
    emit: str = "",
    dry_run: bool = False,
) -> None:
    """Runs what is missing of the chosen rows and seeds (none: all) and writes the whole table.

    `overrides` hold for every row, and may name only keys that move no number. `shard` (i, n): part i of n
    alone, without the table, which others write to as well. `out`: a folder for the table as CSV and LaTeX, and
    for its plot. `emit`: "slurm" writes an array job of the parts instead of running anything.
    """
    name, ablation = load_ablation(argument)
    path, _, variant = argument.partition(":")
    runs = build_runs(ablation, workdir, Path(path).parent / "results" / name, overrides)
    chosen = choose(runs, rows, seeds)
    if emit:
        say(write_array_job(workdir, name, len(parts(chosen))))
        return
    if shard is not None:
        chosen = shard_of(chosen, *shard)
    missing = to_do(chosen)
    if dry_run:
        show(runs, chosen, missing, jobs)
        return
    title = ablation.title or f"Ablation {Path(path).stem}"
    title = f"{title} ({variant})" if variant else title

    def write() -> None:
        if shard is None:
            write_table(results, title, ablation, runs, out)

    # Before the first run as well: a place that cannot be written is refused now and not after hours.
    write()
    with stopping_at_once():
        failed = run_all(missing, jobs, write)
    if shard is None:
        say(f"wrote the section '{title}' of {results}" + (f", and {out}" if out else ""))
    else:
        say("this part is done; the same command without --shard writes the table")
    if failed:
        told = "what each says is in its run folder" if shard else f"{results} says why"
        raise AvsslError(
            f"{len(failed)} of {len(missing)} runs failed: {', '.join(run.name for run in failed)}; "
            f"{told}, and the same command tries them again"
        )


def show(runs: list[Run], chosen: list[Run], missing: list[Run], jobs: int) -> None:
    """What is there, what would run, and how long that would take."""
    for run in dict.fromkeys([*chosen, *missing]):
        say(f"{run.name}: {outlook(run, run in missing)}")
    finished = [result for run in runs if (result := run.result()) is not None]
    seconds = [expected_seconds(run, finished) for run in missing]
    known = [one for one in seconds if one is not None]
    told = ""
    if known:
        told = f", about {sum(known) / 60 / min(jobs, len(known)):.0f} minutes by those that are finished"
    say(f"runs to do: {len(missing)}{told}")


def write_table(
    file: Path, title: str, ablation: Ablation, runs: list[Run], out: Path | None
) -> None:
    standings = [Standing(run, run.result(), run.failure()) for run in runs]
    write_section(file, title, facts(standings, ablation), tables(ablation, standings))
    if out is not None:
        write_exports(out, title, ablation, standings)
