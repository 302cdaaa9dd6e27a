"""A child that dies, hangs or eats memory costs one item, and nothing is left behind."""

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from avssl.media.probe import Probe, probe
from avssl.media.sandbox import ChildPool, Failure
from tests.media.make_media import make_bad_files, make_clip

WORK = """
import os, sys, time
from avssl.media.errors import MediaError

def work(item):
    if item == "abort":
        os.abort()
    if item == "hang":
        time.sleep(1000)
    if item == "eat":
        return len(bytearray(8 << 30))
    if item == "leave":
        os._exit(3)
    if item == "raise":
        raise ValueError("no such thing")
    if item == "media":
        raise MediaError("is odd")
    if item == "modules":
        return [name for name in ("jax", "pytest", "grain") if name in sys.modules]
    if item == "process":
        return os.getpid()
    return item
"""
LIMITS = {"timeout_seconds": 2.0, "memory_bytes": 1 << 30}


@pytest.fixture
def work(tmp_path, monkeypatch):
    (tmp_path / "child_pool_work.py").write_text(WORK)
    monkeypatch.syspath_prepend(tmp_path)
    from child_pool_work import work  # pyright: ignore[reportMissingImports]

    yield work
    del sys.modules["child_pool_work"]


def children() -> set[int]:
    listed = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    return {int(pid) for path in listed for pid in path.read_text().split()}


def test_bad_items_cost_one_item_each(work):
    before = children()
    items = [1, "abort", 2, "hang", "eat", 3, "leave", "raise", "media", b"\0" * 3_000_000, 4]
    with ChildPool(2, work, **LIMITS) as pool:
        outcomes = list(pool.map(items))
        assert list(pool.map([5, 6])) == [(5, 5), (6, 6)]
    assert [item for item, _ in outcomes] == items
    results = dict(zip(range(len(items)), (result for _, result in outcomes), strict=True))
    assert results[1] == Failure("killed the process that read it (SIGABRT)")
    assert results[3] == Failure("took more than 2 s")
    assert results[4] == Failure("needs more than 1074 MB of memory")
    assert results[6] == Failure("ended the process that read it (exit code 3)")
    assert results[7] == Failure("ValueError: no such thing")
    assert results[8] == Failure("is odd")
    for index in (0, 2, 5, 9, 10):
        assert results[index] == items[index]
    assert children() == before


def test_children_persist_and_import_nothing_of_the_parent(work):
    with ChildPool(1, work, **LIMITS) as pool:
        first, second, modules = (result for _, result in pool.map(["process"] * 2 + ["modules"]))
    assert first == second != os.getpid()
    assert modules == []


def test_items_are_taken_as_needed_and_a_pool_may_be_left_early(work):
    before = children()
    taken = []

    def items():
        for index in range(1000):
            taken.append(index)
            yield index

    with ChildPool(2, work, **LIMITS) as pool:
        for item, result in pool.map(items()):
            assert item == result
            if item == 3:
                break
        assert len(taken) < 20
    assert children() == before


def test_a_function_that_cannot_be_imported_is_an_error_and_no_loop(work, tmp_path):
    # The children have their own interpreter, and find nothing there any more.
    (tmp_path / "child_pool_work.py").unlink()
    with (
        ChildPool(1, work, **LIMITS) as pool,
        pytest.raises(RuntimeError, match="could not be started: ModuleNotFoundError"),
    ):
        list(pool.map([1]))


def test_a_pool_needs_a_child(work):
    with pytest.raises(ValueError, match="at least one child"):
        ChildPool(0, work, **LIMITS)


def test_a_hanging_child_ends_with_a_parent_that_is_killed(work, tmp_path):
    program = """
        import sys
        sys.path.insert(0, sys.argv[1])
        from avssl.media.sandbox import ChildPool
        from child_pool_work import work
        with ChildPool(1, work, timeout_seconds=1000, memory_bytes=1 << 30) as pool:
            items = pool.map(["process", "hang"])
            print(next(items)[1], flush=True)
            next(items)
    """
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
    )
    with parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + 10
    while is_running(child) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not is_running(child)


def is_running(pid: int) -> bool:
    """Nobody may collect an orphan's exit status here, so a zombie counts as ended."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rsplit(")", 1)[1].split()[0] != "Z"


def test_first_look_at_foreign_files(tmp_path):
    names = sorted(make_bad_files(tmp_path))
    (tmp_path / "good.mp4").write_bytes(make_clip(10))
    paths = [str(tmp_path / name) for name in [*names, "good.mp4"]]
    with ChildPool(2, probe, timeout_seconds=20.0, memory_bytes=1 << 30) as pool:
        outcomes = dict(pool.map(paths))
    assert isinstance(outcomes[str(tmp_path / "good.mp4")], Probe)
    refused = {Path(path).name for path, result in outcomes.items() if isinstance(result, Failure)}
    # These three show their damage only to who decodes them.
    assert refused == set(names) - {"cut_after_index.mp4", "cut.mkv", "damaged.mp4"}
