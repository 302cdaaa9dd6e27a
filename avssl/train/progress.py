"""What a person sees of a run: the parameters, a bar or plain lines, and at most one advice."""

import collections
import sys
import time
from collections.abc import Mapping
from typing import Any, TextIO

import jax
import numpy as np
from jax.sharding import NamedSharding
from tqdm import tqdm

from avssl.console import aligned, warn

MAX_ROWS = 40
BAR = "{percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt} {elapsed}, ETA {remaining}{postfix}"


class Progress:
    """Shows how far a run is, at every logged step. Process 0 shows; the others keep quiet."""

    def __init__(self, start_step: int, total_steps: int, stream: TextIO | None = None):
        self._total = total_steps
        self._stream = stream or sys.stderr
        self._shown = jax.process_index() == 0
        self._last = (start_step, time.perf_counter())
        self._advice = DataWaitAdvice(start_step)
        self._bar = None
        if self._shown and self._stream.isatty():
            self._bar = tqdm(
                total=total_steps,
                initial=start_step,
                file=self._stream,
                bar_format=BAR,
                dynamic_ncols=True,
            )

    def update(self, step: int, metrics: Mapping[str, float]) -> None:
        """`metrics`: loss, clips_per_second and data_wait_fraction since the update before."""
        if not self._shown:
            return
        last_step, last_time = self._last
        now = time.perf_counter()
        self._last = (step, now)
        wait = metrics["data_wait_fraction"]
        numbers = (
            f"loss {metrics['loss']:.4f}  {metrics['clips_per_second']:.1f} clips/s  "
            f"data wait {wait:.0%}"
        )
        if self._bar is not None:
            self._bar.set_postfix_str(numbers, refresh=False)
            self._bar.update(step - self._bar.n)
        else:
            left = (self._total - step) * (now - last_time) / max(step - last_step, 1)
            line = f"step {step}/{self._total}  {numbers}  ETA {tqdm.format_interval(left)}"
            print(line, file=self._stream, flush=True)
        if advice := self._advice.after(step, wait, now - last_time):
            warn(advice)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class DataWaitAdvice:
    """Speaks up once, when the last steps spent more than a tenth of their time on waiting."""

    limit = 0.1
    warm_up_steps = 50  # compilation, the first decodes, the workers' start
    window_steps = 100

    def __init__(self, start_step: int):
        self._reports: collections.deque[tuple[int, float, float]] = collections.deque()
        self._start = start_step
        self._warm_from: int | None = None
        self._given = False

    def after(self, step: int, wait_fraction: float, seconds: float) -> str | None:
        """The advice, if it is due. `seconds`: the time since the report before this one."""
        if self._warm_from is None:
            # This report still covers warm-up steps: only those after it count.
            if step - self._start >= self.warm_up_steps:
                self._warm_from = step
            return None
        self._reports.append((step, wait_fraction, seconds))
        while self._reports[0][0] <= step - self.window_steps:
            self._reports.popleft()
        total = sum(seconds for _, _, seconds in self._reports)
        mean = sum(wait * seconds for _, wait, seconds in self._reports) / max(total, 1e-9)
        covered = step - self._warm_from >= self.window_steps
        if self._given or not covered or mean <= self.limit:
            return None
        self._given = True
        return (
            f"step {step}: {mean:.0%} of the time goes by waiting for data; try "
            "--config.data.cache=memory if the clips fit, more --config.data.workers if there are "
            "cores to spare, or a data set of smaller frames (avssl data build --short-side)"
        )


def parameter_table(params: Any, *, max_rows: int = MAX_ROWS, shardings: bool = False) -> str:
    """Path, shape, dtype and size of every array; beyond `max_rows`, one row per sub-tree.

    `params`: any tree of arrays or `jax.ShapeDtypeStruct`.
    """
    leaves = [
        ([_name(key) for key in path], leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
    ]
    header = ["parameter", "shape", "dtype", "size"] + ["sharding"] * shardings
    rows = [_row(group, shardings) for group in _groups(leaves, max_rows)]
    table = [header, *rows]
    # Of the columns only the sizes end alike.
    lines = aligned(table, left={0, 1, 2, 4})
    size = sum(_size(leaf) for _, leaf in leaves)
    megabytes = sum(_size(leaf) * leaf.dtype.itemsize for _, leaf in leaves) / 1e6
    total = f"{size:,} parameters in {len(leaves)} arrays, {megabytes:,.1f} MB"
    return "\n".join([*lines, total])


def _groups(leaves: list, max_rows: int) -> list[list]:
    """The finest common depth of the paths at which no more than `max_rows` groups remain."""
    groups: dict[tuple[str, ...], list] = {}
    for depth in range(max((len(path) for path, _ in leaves), default=0), 0, -1):
        groups = {}
        for path, leaf in leaves:
            groups.setdefault(tuple(path[:depth]), []).append((path, leaf))
        if len(groups) <= max_rows:
            break
    return list(groups.values())


def _row(group: list, shardings: bool) -> list[str]:
    paths, leaves = zip(*group, strict=True)
    same = 0
    while len(group) > 1 and len({tuple(path[: same + 1]) for path in paths}) == 1:
        same += 1
    name = "/".join(paths[0] if len(group) == 1 else [*paths[0][:same], "*"])
    shape = (
        "x".join(map(str, leaves[0].shape)) or "scalar"
        if len(group) == 1
        else f"{len(group)} arrays"
    )
    row = [name, shape, _common(str(leaf.dtype) for leaf in leaves)]
    row.append(f"{sum(map(_size, leaves)):,}")
    return [*row, _common(map(_spec, leaves))] if shardings else row


def _common(words: Any) -> str:
    distinct = set(words)
    return distinct.pop() if len(distinct) == 1 else "mixed"


def _spec(leaf: Any) -> str:
    sharding = getattr(leaf, "sharding", None)
    if not isinstance(sharding, NamedSharding):
        return "one device"
    axes = [str(axis) if axis is not None else "-" for axis in sharding.spec]
    return ",".join(axes) if any(axis != "-" for axis in axes) else "whole"


def _size(leaf: Any) -> int:
    return int(np.prod(leaf.shape))


def _name(key: Any) -> str:
    return str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key))))
