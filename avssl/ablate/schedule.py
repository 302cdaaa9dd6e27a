"""Which runs of an ablation are due, in which order, and several of them at once."""

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from avssl.ablate.processes import Processes
from avssl.ablate.record import Result, Run
from avssl.ablate.work import LOG, carry_out
from avssl.console import say
from avssl.errors import UsageError, unknown


def choose(runs: list[Run], rows: Sequence[str], seeds: Sequence[int]) -> list[Run]:
    names = {run.row.name for run in runs}
    for row in rows:
        if row not in names:
            raise unknown("row", row, names)
    known = sorted({run.seed for run in runs})
    for seed in seeds:
        if seed not in known:
            raise UsageError(f"no row has seed {seed}; known: {listed(known)}")
    chosen = [
        run
        for run in runs
        if (not rows or run.row.name in rows) and (not seeds or run.seed in seeds)
    ]
    if not chosen:
        have = "; ".join(
            f"'{row}' has {listed(seeds_of(runs, row))}" for row in dict.fromkeys(rows)
        )
        raise UsageError(f"none of these rows has seed {listed(seeds)}: {have}")
    return chosen


def seeds_of(runs: Iterable[Run], row: str) -> list[int]:
    return sorted(run.seed for run in runs if run.row.name == row)


def listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))


def to_do(chosen: Iterable[Run]) -> list[Run]:
    """The unfinished ones, each after those that it starts from or is taught by, if not trained here."""

    def chain(run: Run) -> list[Run]:
        before = [one for one in run.needed if not one.is_trained()]
        return [*(link for one in before for link in chain(one)), run]

    unfinished = [run for run in chosen if run.result() is None]
    # The same run may be the start of several.
    return list(dict.fromkeys(run for last in unfinished for run in chain(last)))


def shard_of(chosen: Sequence[Run], number: int, count: int) -> list[Run]:
    """Part `number` of `count`: runs that need each other are in one, whatever is finished by now."""
    return [
        run for place, part in enumerate(parts(chosen)) if place % count == number for run in part
    ]


def parts(chosen: Sequence[Run]) -> list[list[Run]]:
    """The runs in groups of which none needs a run that another group needs, or is."""
    groups: list[tuple[set[Run], list[Run]]] = []
    for run in chosen:
        involved, members = with_needed(run), [run]
        apart = []
        for others, theirs in groups:
            if others & involved:
                involved, members = involved | others, [*theirs, *members]
            else:
                apart.append((others, theirs))
        groups = [*apart, (involved, members)]
    return sorted((members for _, members in groups), key=lambda part: chosen.index(part[0]))


def with_needed(run: Run) -> set[Run]:
    return {run}.union(*(with_needed(one) for one in run.needed))


def expected_seconds(run: Run, finished: Sequence[Result]) -> float | None:
    """By what finished runs took a step, those of its row before all others; None where none is finished."""
    alike = [result for result in finished if result.row == run.row.name] or finished
    took = [result.facts for result in alike]
    steps = sum(facts.steps for facts in took)
    # The command that ended a run may have found most of it done.
    seconds = sum(max(facts.wall_seconds, facts.train_seconds) for facts in took)
    return run.config.steps * seconds / steps if steps else None


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


def run_all(missing: list[Run], jobs: int, after_each: Callable[[], None]) -> list[Run]:
    """Those that failed. Up to `jobs` at once; a run waits for those it needs, failed or not."""
    if missing:
        say(f"runs to do: {len(missing)}; what each says is in {LOG} of its run folder")
    failed: list[Run] = []
    waiting, running = list(missing), dict[Future[str], tuple[Run, float]]()
    # The pool waits for its threads, which wait for processes: those are told to end first.
    with ThreadPoolExecutor(jobs) as pool, Processes() as processes:
        while waiting or running:
            under_way = [run for run, _ in running.values()]
            for run in ready(waiting, under_way)[: jobs - len(running)]:
                waiting.remove(run)
                running[pool.submit(carry_out, run, processes.call)] = run, time.monotonic()
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                run, began = running.pop(future)
                failure = future.result()
                if failure:
                    failed.append(run)
                after_each()
                end = f"failed: {failure}" if failure else "done"
                number = len(missing) - len(waiting) - len(running)
                say(
                    f"[{number}/{len(missing)}] {run.name}, {time.monotonic() - began:.0f} s: {end}"
                )
    return failed


def ready(waiting: Sequence[Run], under_way: Sequence[Run]) -> list[Run]:
    """Those that need none of the unfinished ones."""
    unfinished = {*waiting, *under_way}
    return [run for run in waiting if unfinished.isdisjoint(run.needed)]
