"""Rows that are kept in a file: for `avssl plan --walk`, `--sweep` and `--compare`."""

import json
from pathlib import Path

import pytest

from avssl.config import load_config, override, resolve
from avssl.errors import AvsslError
from avssl.objectives import OBJECTIVES
from avssl.plan import rows as keeping
from avssl.plan.estimate import Estimate, lay_out, lower_step
from avssl.plan.rows import Rows, read_rows
from avssl.plan.topology import find_topology
from avssl.plan.walk import walked_configs

CONFIG = "tests/train/tiny_config.py"
TABLE = ("plan", "--topology", "cpu:2", "--config", CONFIG, "--batch", "4")


def tiny(**changes):
    config = load_config(CONFIG)
    override(config, [(key.replace("__", "."), str(value)) for key, value in changes.items()])
    return resolve(config)


@pytest.fixture
def compiled(monkeypatch):
    """The compiler is played, and refuses batches above 64: its figures are tested elsewhere."""
    layouts = []

    def estimate(layout, lowered):
        layouts.append(layout)
        if layout.batch_size > 64:
            raise AvsslError("the compiler refuses the step: too many")
        return Estimate(layout, True, 2**30, None, 7.0)

    monkeypatch.setattr(keeping, "lower_step", Program)
    monkeypatch.setattr(keeping, "estimate", estimate)
    return layouts


class Program:
    """Played: another for each config."""

    def __init__(self, layout):
        self.text = json.dumps(layout.setup.config.to_dict())

    def as_text(self):
        return self.text


def test_a_row_is_of_a_resolved_config_and_a_slice(compiled, tmp_path):
    file = tmp_path / "rows.jsonl"
    two, four = (find_topology(f"cpu:{n}") for n in (2, 4))
    for _ in range(2):
        rows = Rows(file)
        first = rows.row("a", tiny(), two)
        # Another label is no other row.
        assert rows.row("b", tiny(batch_size=8), two) == first
        rows.row("c", tiny(batch_size=16), two)
        rows.row("d", tiny(), four)
    assert [(one.batch_size, one.topology.name) for one in compiled] == [
        (8, "cpu:2"), (16, "cpu:2"), (8, "cpu:4"),
    ]  # fmt: skip
    assert len(file.read_text().splitlines()) == 3


def test_a_row_is_of_the_code_that_counted_it(compiled, tmp_path, monkeypatch):
    file = tmp_path / "rows.jsonl"
    topology = find_topology("cpu:2")
    Rows(file).row("a", tiny(), topology)
    monkeypatch.setattr(keeping, "compiler_and_reader", lambda: "other")
    Rows(file).row("a", tiny(), topology)
    assert len(compiled) == 2


def test_the_compiler_and_what_reads_its_programs_are_known(monkeypatch):
    keeping.compiler_and_reader.cache_clear()
    own = keeping.compiler_and_reader()
    reads = Path.read_bytes
    for changed in ("plan/traffic.py", "plan/rows.py"):
        keeping.compiler_and_reader.cache_clear()
        monkeypatch.setattr(
            Path, "read_bytes", lambda file, end=changed: reads(file) + b"#" * file.match(end)
        )
        assert keeping.compiler_and_reader() != own
    monkeypatch.undo()
    keeping.compiler_and_reader.cache_clear()
    monkeypatch.setattr(keeping, "version", lambda name: "9.9")
    assert keeping.compiler_and_reader() != own
    monkeypatch.undo()
    keeping.compiler_and_reader.cache_clear()


def test_a_program_is_known_by_what_it_computes():
    def identity(**changes):
        layout = lay_out(tiny(**changes), find_topology("cpu:2"))
        return keeping.identity_of(layout, lower_step(layout).as_text())

    own = identity()
    # How often it logs is no part of the program; how fast it learns is.
    assert identity(log_every_steps=7) == own
    assert identity(optimizer__learning_rate=0.5) != own


def test_a_refusal_is_a_row_and_ends_nothing(run, compiled, tmp_path):
    file, results = tmp_path / "rows.jsonl", tmp_path / "R.md"
    changes = ("batch_size=128", "parallel.fsdp=3", "batch_size=16")
    words = [word for change in changes for word in ("--compare", change)]
    for _ in range(2):
        code, out, _ = run(*TABLE, *words, "--keep", file, "--results", results)
        assert code == 0
        assert "batch_size=128: the compiler refuses the step: too many" in out
    assert [one.batch_size for one in compiled] == [4, 128, 16]
    text = results.read_text()
    assert "- batch_size=128: the compiler refuses the step: too many\n" in text
    assert "- parallel.fsdp=3: parallel.fsdp=3 does not divide the 2 devices" in text
    assert "| batch_size=128 | 128 | – |" in text
    assert "| batch_size=16 | 16 | 1.00 | – |" in text


def test_a_sweep_goes_on_after_a_refusal_and_after_a_stop(run, compiled, tmp_path, monkeypatch):
    file = tmp_path / "rows.jsonl"
    words = ("plan", "--sweep", "--topology", "cpu:8", "--batch", "128", "--config", CONFIG)
    code, out, _ = run(*words, "--keep", file)
    assert code == 0
    assert "cpu:8: the compiler refuses the step: too many" in out
    assert [one.batch_size for one in compiled] == [16, 32, 64, 128]
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:2]))
    assert run(*words, "--keep", file)[0] == 0
    assert [one.batch_size for one in compiled[4:]] == [64, 128]


def test_what_nobody_foresaw_is_tried_again(compiled, tmp_path, monkeypatch):
    def broken(layout, lowered):
        raise ZeroDivisionError("by chance")

    file, topology = tmp_path / "rows.jsonl", find_topology("cpu:2")
    with monkeypatch.context() as patch:
        patch.setattr(keeping, "estimate", broken)
        assert "by chance" in Rows(file).row("a", tiny(), topology).why_not
    assert not file.exists()
    assert not Rows(file).row("a", tiny(), topology).why_not


def test_a_row_after_a_torn_one_is_kept(compiled, tmp_path, capsys):
    kept, topology = tmp_path / "rows.jsonl", find_topology("cpu:2")

    def both():
        rows = Rows(kept)
        return [rows.row(str(size), tiny(batch_size=size), topology) for size in (8, 16)]

    whole = both()
    content = kept.read_bytes()
    # A kill within the second row.
    kept.write_bytes(content[:-20])
    assert both() == whole
    assert kept.read_bytes() == content
    assert [one.batch_size for one in compiled] == [8, 16, 16]
    assert "rows.jsonl: a stop tore its last line, which is dropped" in capsys.readouterr().err


@pytest.mark.parametrize("line", ["5", "{}", '{"identity": "a"}{"identity": "b"}'])
def test_a_line_that_is_no_row_is_named(tmp_path, capsys, line):
    kept = tmp_path / "rows.jsonl"
    row = {"identity": "a", "label": "it", "cells": {}, "why_not": "", "commit": "0"}
    kept.write_text(f"{json.dumps(row)}\n{line}\n")
    assert list(read_rows(kept)) == ["a"]
    assert "rows.jsonl:2 is no row of a plan" in capsys.readouterr().err


def test_rows_of_no_table_are_refused(run, tmp_path):
    code, _, err = run(*TABLE, "--keep", tmp_path / "rows.jsonl")
    assert code == 2
    assert "give --sweep or --compare with --keep" in err


def test_a_walk_keeps_its_rows_and_says_what_does_not_compile(run, compiled, tmp_path, monkeypatch):
    base = "def get_config(variant=''):\n    from avssl.config import base\n    return base()\n"
    for folder, name, text in (
        ("pretrain", "works", Path(CONFIG).read_text()),
        ("distill", "fails", base),
    ):
        (tmp_path / "configs" / folder).mkdir(parents=True)
        (tmp_path / "configs" / folder / f"{name}.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    words = ("plan", "--walk", "rows.jsonl", "--topology", "cpu:2", "--batch", "4")
    for _ in range(2):
        code, out, _ = run(*words, "--results", "R.md")
        assert code == 0
        assert "configs/pretrain/works.py" in out
    assert [one.batch_size for one in compiled] == [8]  # its own is larger
    written = Path("R.md").read_text()
    assert "| configs/pretrain/works.py | 8 |" in written
    assert "configs/distill/fails.py: " in written
    # A config that is none has no row to keep.
    assert len(Path("rows.jsonl").read_text().splitlines()) == 1


def test_a_walk_trains_every_objective():
    trained = set()
    for name in walked_configs():
        trained |= {objective.partition("__")[0] for objective in load_config(name).objectives}
    assert trained == OBJECTIVES.keys()
