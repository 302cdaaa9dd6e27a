"""Ablation files: those of this project are sound, and a mistake in one is one sentence before any training."""

from pathlib import Path

import pytest

from avssl.ablate.plan import Ablation, AblationRow, Column, check, grid, load_ablation, quicktest
from avssl.ablate.record import build_runs
from avssl.config import changed_keys, differences, load_config, override, to_json
from avssl.errors import UsageError

FILES = sorted(str(path) for path in Path("configs/ablations").glob("*.py"))
ROW = 'AblationRow("xid", CONFIG)'


@pytest.mark.parametrize("variant", ["", ":quicktest"])
@pytest.mark.parametrize("file", FILES)
def test_every_row_resolves(file, variant, tmp_path):
    _, ablation = load_ablation(f"{file}{variant}")
    runs = build_runs(ablation, tmp_path, tmp_path)
    assert {run.row.name for run in runs} == {row.name for row in ablation.rows}
    if variant:
        assert {run.seed for run in runs} == {0}
        assert {run.config.steps for run in runs} == {2}


@pytest.mark.parametrize("file", FILES)
def test_docstring_has_the_command(file):
    assert f"avssl ablate --config {file} --workdir" in Path(file).read_text()


def test_quicktest_keeps_the_overrides_that_do_not_undo_it():
    words = ("steps=800", "data.source=world:faulty@train", "objectives.xid.temperature=0.2")
    row = quicktest(AblationRow("x", "configs/world/xid.py", words, seeds=(0, 1)))
    assert row.config == "configs/world/xid.py:quicktest"
    assert row.overrides == [("objectives.xid.temperature", "0.2")]
    assert row.seeds == (0,)


def test_runs_come_seed_by_seed_and_know_where_they_start(write_ablation, tmp_path):
    file = write_ablation(
        'AblationRow("b", CONFIG, seeds=(0, 1))',
        'AblationRow("a", CONFIG, (("steps", "7"), "batch_size=16"), (1,), start_from="b")',
    )
    runs = build_runs(load_ablation(str(file))[1], tmp_path, tmp_path / "results")
    assert [run.name for run in runs] == ["b seed 0", "a seed 1", "b seed 1"]
    first, started, start = runs
    assert (first.config.seed, started.config.seed) == (0, 1)
    assert (started.config.steps, started.config.batch_size) == (7, 16)
    assert started.config.init_from == str(tmp_path / "b" / "seed-1")
    # The parameters are those of a config, wherever its folder lies.
    assert started.identity["init_from"] == start.training
    (difference,) = differences(to_json(first.config), to_json(start.config))
    assert difference == "seed: 0 -> 1"


def test_a_teacher_is_its_hash_wherever_it_lies(write_ablation, tmp_path):
    rows = [
        f'AblationRow("{name}", "configs/world/distill.py", '
        f'("teachers.teacher.hash={hashed}", "teachers.teacher.{place}=somewhere"))'
        for name, hashed, place in (("a", 1, "run"), ("b", 1, "store"), ("c", 2, "run"))
    ]
    _, ablation = load_ablation(str(write_ablation(*rows)))
    here, there, other = build_runs(ablation, tmp_path, tmp_path)
    assert here.identity == there.identity
    assert changed_keys(here.identity, other.identity) == ["teachers.teacher.hash"]


@pytest.mark.parametrize(
    ("rows", "claims", "sentence"),
    [
        ([], [], "at least one row"),
        ([ROW, ROW], [], "the row 'xid' is there twice"),
        (['AblationRow("a/b", CONFIG)'], [], "'a/b' is no name of a folder"),
        (['AblationRow("xid", CONFIG, seeds=())'], [], "seeds must be whole numbers"),
        (['AblationRow("xid", CONFIG, seeds=(1, 1))'], [], "seed of row 'xid' 1 is there twice"),
        (['AblationRow("xid", CONFIG, ("steps",))'], [], "the override 'steps' is not key=value"),
        (['AblationRow("xid", CONFIG, ("seed=3",))'], [], "'seed' is given by its field seeds"),
        (['AblationRow("xid", CONFIG, ("stepz=3",))'], [], "did you mean 'steps'?"),
        (['AblationRow("xid", "configs/world/xdi.py")'], [], "did you mean 'configs/world/xid.py'"),
        (['AblationRow("xid", CONFIG + ":quiktest")'], [], "did you mean 'quicktest'?"),
        ([ROW, 'AblationRow("b", CONFIG, start_from="xdi")'], [], "did you mean 'xid'?"),
        ([ROW, 'AblationRow("b", CONFIG, seeds=(2,), start_from="xid")'], [], "has seed 2, which"),
        ([ROW, 'AblationRow("b", CONFIG, teachers={"t": "xdi"})'], [], "did you mean 'xid'?"),
        ([ROW, 'AblationRow("b", CONFIG, object_encoder="xdi")'], [], "did you mean 'xid'?"),
        (
            ['AblationRow("b", CONFIG, ("eval.object_encoder=runs/a",))'], [],
            "'eval.object_encoder' is given by its field object_encoder",
        ),
        (["3"], [], "its rows must be AblationRows, not 3"),
        ([ROW], ['Claim("c", Cell("xdi", *KNN), 0.5)'], "row in the claim 'c' 'xdi'; did you mean"),
        ([ROW], ['Claim("c", Cell("xid", *KNN), Cell("y", *KNN))'], "in the claim 'c' 'y'; known"),
        ([ROW], ['Claim("c", Cell("xid", *KNN), PartOfWay(1 / 3, Cell("y", *KNN)))'], "'y'; known"),
        ([ROW], ['Claim("c", Cell("xid", *KNN), "chanse")'], "did you mean 'chance'?"),
        ([ROW], ['Claim("c", Cell("xid", "knm", "video", "top1"), 0.5)'], "did you mean 'knn'?"),
        ([ROW], ['Claim("c", Cell("xid", "knn", "video", "median_rank"), 0.5)'], "take a fraction"),
        (['AblationRow("d", "configs/world/distill.py")'], [], "teachers.teacher is runs/world-sup"),
        ([ROW + "[0]"], [], "line 8: TypeError"),
    ],
)  # fmt: skip
def test_mistakes_in_the_file(rows, claims, sentence, write_ablation, ablate, pretended, tmp_path):
    code, _, err = ablate(write_ablation(*rows, claims=claims))
    assert code == 2
    assert sentence in err
    assert err.count("\n") == 1
    assert pretended.names() == []
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / "R.md").exists()


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--rows", "xid,xdi"], "unknown row 'xdi'; did you mean 'xid'?"),
        (["--seeds", "7"], "no row has seed 7; known: 0, 1"),
        (["--rows", "xid", "--seeds", "1"], "none of these rows has seed 1: 'xid' has 0"),
        (["--seeds", "one"], "must be a number of at least 0, not 'one'"),
        (["--config.steps=3"], "change it in the ablation file"),
        (["--dryrun"], "did you mean '--dry-run'?"),
    ],
)
def test_wrong_flags(flags, sentence, write_ablation, ablate, pretended):
    other = 'AblationRow("other", CONFIG, seeds=(0, 1))'
    code, _, err = ablate(write_ablation(ROW, other), *flags)
    assert code == 2
    assert sentence in err
    assert pretended.names() == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "unknown ablation file"),
        ("x = 1\n", "no function get_ablation(variant)"),
        ("def get_ablation(variant):\n    return 3\n", "must return an Ablation, not 3"),
        ("def get_ablation(variant):\n    x = (1,\n", ", line 2: SyntaxError"),
    ],
)
def test_files_that_are_no_ablation(text, sentence, ablate, tmp_path):
    file = tmp_path / "mistaken.py"
    if text is not None:
        file.write_text(text)
    code, _, err = ablate(file)
    assert code == 2
    assert sentence in err
    assert str(file) in err


def test_a_grid_has_a_row_for_each_combination():
    choices = {"objectives.xid.temperature": (0.07, 0.2), "objectives.xid.projection": ((128, 64),)}
    rows = grid("tests/train/tiny_config.py", choices, overrides=("steps=3",), seeds=(0, 1))
    assert [row.name for row in rows] == [
        "temperature-0.07+projection-128_64",
        "temperature-0.2+projection-128_64",
    ]
    assert rows[1].pairs() == [
        ("steps", "3"),
        ("objectives.xid.temperature", "0.2"),
        ("objectives.xid.projection", "(128, 64)"),
    ]
    config = load_config("tests/train/tiny_config.py")
    override(config, rows[1].pairs())
    assert tuple(config.objectives.xid.projection) == (128, 64)
    check(Ablation(rows, (Column("knn", "video", "top1"),), base=rows[0].name))


def test_a_base_is_a_row():
    (row,) = grid("tests/train/tiny_config.py", {"batch_size": (8,)})
    with pytest.raises(UsageError, match="row that is the base 'batch_size-9'; did you mean"):
        check(Ablation((row,), (Column("knn", "video", "top1"),), base="batch_size-9"))
