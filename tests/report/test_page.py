"""The page without clips: whole, self-contained, honest about what is missing."""

import json

import pytest

from avssl.evaluate.rows import Row
from avssl.report.page import write_report
from avssl.report.runs import short_names
from tests.report.folders import COMMAND, ROWS, Page, assert_self_contained, untrained

NASTY = "</td><script>alert(1)</script>"


def test_a_run_without_checkpoints_gets_curves_config_and_a_line(run, tmp_path):
    folder = untrained(tmp_path / "lonely")
    code, said, _ = run("report", folder)
    assert code == 0
    assert f"wrote {folder / 'report.html'}" in said
    page = Page(folder / "report.html")
    assert_self_contained(page)
    assert page.sections == ["results", "curves", "nearest-clips", "data", "config"]
    assert "has no checkpoint yet" in page.words
    assert "71.8 % 10.0 % +61.8 10.0 % 400" in page.words
    assert f"lonely: {COMMAND}" in page.words
    assert "12.0 201.0 −189.0 200.5 400" in page.words
    assert "encoders.video.frontend.name rgb" in page.words
    # 5 steps of 8 clips at 16 clips a second.
    assert "5 of 40 in 2 s" in page.words
    assert "could not be read 2 5 %, each replaced by another clip" in page.words
    assert "lack a modality 5 12 % of the 40 clips in the 5 logged steps" in page.words


def test_what_no_random_weights_give_has_no_ring(run, tmp_path):
    rows = [Row("localization", "objects", "mean_ciou", 0.3, None, 0.1, 400), *ROWS]
    folder = untrained(tmp_path / "lonely", rows=rows)
    assert run("report", folder)[0] == 0
    page = Page(folder / "report.html")
    assert "30.0 % – – 10.0 % 400" in page.words
    rings = [held for name, held in page.elements if (held.get("class") or "").startswith("random")]
    assert len(rings) == 1


def test_several_runs_stand_side_by_side(run, tmp_path):
    folders = [
        untrained(tmp_path / "first" / "seed-0"),
        untrained(tmp_path / "second" / "seed-0", ("optimizer.learning_rate", "0.5"), ("data.workers", "2")),
        untrained(
            tmp_path / "third" / "seed-0", ("views.video.size", "24"), ("eval.clips", "3"), rows=[]
        ),
    ]  # fmt: skip
    out = tmp_path / "all.html"
    code, _, _ = run("report", *folders, "--out", out, "--no-clips")
    assert code == 0
    page = Page(out)
    assert_self_contained(page)
    assert page.words.startswith("3 runs")
    assert "4 keys differ; those in grey move no number; those of eval say what was" in page.words
    assert "optimizer.learning_rate 0.001 0.5 0.001" in page.words
    assert "views.video.size 16 16 24" in page.words
    assert len(page.of("tr", "free")) == 1
    assert "third/seed-0 has no eval.json: `avssl evaluate --workdir" in page.words
    numbers = "71.8 % 10.0 % +61.8 10.0 % 400"
    assert f"{numbers} {numbers} – – – – –" in page.words
    assert "Left out by --no-clips" in page.words


def test_runs_of_equal_configs_have_no_difference(run, tmp_path):
    folders = [untrained(tmp_path / "a"), untrained(tmp_path / "b")]
    assert run("report", *folders, "--no-clips")[0] == 0
    assert "The configs are equal in every key" in Page(folders[0] / "report.html").words


def test_config_values_cannot_become_markup(tmp_path):
    folder = untrained(tmp_path / NASTY.replace("/", ""), ("init_from", NASTY))
    page = Page(write_report([folder], tmp_path / "page.html", clips=False))
    assert_self_contained(page)
    assert "<script>alert" not in page.source
    assert page.words.count(NASTY) == 2, "in the head and in the config"


def test_metrics_cannot_become_markup(tmp_path):
    folder = untrained(tmp_path / "run")
    with open(folder / "metrics.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps({"step": 9, f"xid/{NASTY}": 1.0}) + "\n")
    page = Page(write_report([folder], clips=False))
    assert_self_contained(page)
    assert "<script>alert" not in page.source


def test_a_run_without_log_or_results_gets_a_page(tmp_path):
    folder = untrained(tmp_path / "run", steps=0, rows=[])
    (folder / "metrics.jsonl").unlink()
    page = Page(write_report([folder], clips=False))
    assert "No metrics.jsonl with a line in it: run" in page.words
    assert "run has no eval.json" in page.words
    assert "0 logged of 40" in page.words


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda folder: (folder / "config.json").unlink(), "is no run folder"),
        (lambda folder: (folder / "config.json").write_text("{"), "is damaged"),
    ],
)
def test_a_folder_that_is_no_run_is_refused(run, tmp_path, damage, sentence):
    folder = untrained(tmp_path / "run")
    damage(folder)
    code, _, error = run("report", folder)
    assert code == 2
    assert sentence in error
    assert not (folder / "report.html").exists()


def test_damaged_results_are_said_on_the_page(tmp_path):
    folder = untrained(tmp_path / "run")
    (folder / "eval.json").write_text('{"rows": [{"protocol": "knn"}]}')
    assert "eval.json is damaged" in Page(write_report([folder], clips=False)).words


def test_a_run_named_twice_and_a_place_that_is_none_are_refused(run, tmp_path):
    folder = untrained(tmp_path / "run")
    code, _, error = run("report", folder, folder / ".." / "run")
    assert code == 2
    assert "is named twice" in error
    code, _, error = run("report", folder, "--no-clips", "--out", tmp_path / "no" / "where.html")
    assert code == 2
    assert "--out: must be a file in a folder that is there" in error


def test_names_are_as_long_as_they_must(tmp_path):
    paths = [tmp_path / "a" / "x", tmp_path / "b" / "x"]
    assert short_names(paths) == ["a/x", "b/x"]
    assert short_names(paths[:1]) == ["x"]
    assert short_names([tmp_path / "xid" / "seed-0"]) == ["xid/seed-0"]
