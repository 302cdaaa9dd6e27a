"""RESULTS.md: a section belongs to its title."""

import dataclasses
import json

import pytest

from avssl.errors import AvsslError, UsageError
from avssl.evaluate.results import (
    INTRODUCTION,
    Training,
    facts_of,
    markdown_table,
    training,
    write_results,
    write_section,
)
from avssl.evaluate.rows import Row, read_command, read_json, write_json

LINEAR = Row("linear", "video", "top1", 0.61, 0.22, 0.1, 400)


def test_writing_again_replaces_the_section_and_leaves_the_others(tmp_path):
    file = tmp_path / "R.md"
    write_section(file, "One", ["seed 0"], "first text\n")
    write_results(file, "Two", [LINEAR], ["seed 1"])
    before = file.read_text()
    assert before.startswith(INTRODUCTION)
    assert "| linear | video | top1 | 61.0 % | – | 22.0 % | +39.0 | 10.0 % | 400 |" in before
    write_section(file, "One", ["seed 2"], "### Claims\n\n± second text\n")
    after = file.read_text(encoding="utf-8")
    assert "first text" not in after
    assert "± second text" in after
    assert after[after.index("## Two") :] == before[before.index("## Two") :]
    write_section(file, "One", ["seed 0"], "first text\n")
    assert file.read_text() == before


def test_cells_cannot_break_the_table():
    assert markdown_table(["a", "b"], [["x|y", "1"]]).splitlines() == [
        "| a | b |", "| --- | --- |", r"| x\|y | 1 |",
    ]  # fmt: skip


def test_wrong_places_and_titles(tmp_path):
    with pytest.raises(AvsslError, match="give another place with --results"):
        write_section(tmp_path / "nowhere" / "R.md", "One", [], "")
    with pytest.raises(UsageError, match="a title of one line"):
        write_section(tmp_path / "R.md", "", [], "")


def test_rows_come_back_as_they_were_written(tmp_path):
    write_json(tmp_path / "eval.json", [LINEAR], "avssl evaluate")
    assert read_json(tmp_path / "eval.json") == [LINEAR]
    assert read_command(tmp_path / "eval.json") == "avssl evaluate"


def test_files_of_before_commands_were_written_down_are_read(tmp_path):
    rows = {"rows": [dataclasses.asdict(LINEAR)]}
    (tmp_path / "eval.json").write_text(json.dumps(rows))
    assert read_json(tmp_path / "eval.json") == [LINEAR]
    assert read_command(tmp_path / "eval.json") == ""


def test_how_long_a_run_took_and_how_long_it_waited(tmp_path):
    assert training(tmp_path) == Training(0, 0.0, 0.0)
    (tmp_path / "config.json").write_text('{"batch_size": 8}')
    lines = (
        {"step": step, "clips_per_second": speed, "data_wait_fraction": wait}
        for step, speed, wait in ((2, 4.0, 0.5), (6, 8.0, 0.0))
    )
    torn = '{"step": 8, "clips_'
    text = "\n".join([*map(json.dumps, lines), torn])
    (tmp_path / "metrics.jsonl").write_text(text)
    # Two steps of 2 s, half of them waiting, then four of 1 s.
    assert training(tmp_path) == Training(6, 8.0, 2.0)
    first = facts_of(tmp_path, seed=3)[0]
    assert first == "seed 3, 6 steps in 8 s, of which they awaited data for 25.0 %"
