"""`avssl plan --compare`: a row for each change, all of them checked before the first is compiled."""

import sys

import pytest

from avssl.plan.estimate import Estimate

CONFIG = "configs/pretrain/xid_vit.py:quicktest"


@pytest.fixture
def compiled(monkeypatch):
    """The compiler is played: its figures are tested elsewhere, and what is held is known without it."""
    layouts = []

    def estimate(layout, lowered):
        layouts.append(layout)
        return Estimate(layout, True, 2**30, None, 7.0)

    monkeypatch.setattr("avssl.plan.rows.estimate", estimate)
    return layouts


def words(*changes, results=None):
    written = () if results is None else ("--results", str(results))
    flags = [word for change in changes for word in ("--compare", change)]
    return ("plan", "--config", CONFIG, "--topology", "cpu:8", "--batch", "16", *flags, *written)


def test_a_row_for_each_change(run, compiled, tmp_path, monkeypatch):
    changes = ("precision=float32", "parallel.fsdp=8 objectives.xid.blocks=2")
    file = tmp_path / "RESULTS.md"
    command = words(*changes, results=file)
    monkeypatch.setattr(sys, "argv", ["avssl", *command])
    code, out, _ = run(*command)
    assert code == 0
    assert "precision=float32: compiled in 7 s" in out
    plain, wide, split = (layout.setup.config for layout in compiled)
    assert (plain.precision, wide.precision, split.precision) == ("bf16", "float32", "bf16")
    assert (wide.parallel.fsdp, split.parallel.fsdp) == (1, 8)
    assert split.objectives.xid.blocks == 2
    assert plain.objectives.xid.blocks != 2
    text = file.read_text()
    assert f"## Flags of {CONFIG} for cpu:8, batch 16\n" in text
    assert "--compare precision=float32 --compare 'parallel.fsdp=8 objectives.xid.blocks=2'" in text
    rows = [line for line in text.splitlines() if line.startswith("| ")][2:]
    assert [row.split(" | ")[0] for row in rows] == ["| as it is", *(f"| {one}" for one in changes)]
    states = [row.split(" | ")[4] for row in rows]
    assert float(states[2]) <= float(states[0])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("", "KEY=VALUE, several with blanks between, not ''"),
        ("precision", "KEY=VALUE, several with blanks between, not 'precision'"),
        ("precision=bf15", "did you mean 'bf16'"),
        ("precision=float64", "float64 is for all rows or for none"),
        ("parallel.fspd=8", "did you mean 'parallel.fsdp'"),
        ("optimizer.accumulate=3", "does not divide"),
    ],
)
def test_a_wrong_change_is_refused_before_anything_is_compiled(run, compiled, change, sentence):
    code, _, err = run(*words("precision=bf16", change))
    assert code == 2
    assert sentence in err
    assert not compiled


def test_one_table_at_a_time(run):
    code, _, err = run(*words("precision=bf16"), "--sweep")
    assert code == 2
    assert "not allowed with" in err
