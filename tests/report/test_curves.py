"""Curves: thinned without losing peaks, axes with round numbers, and the runs' own values."""

import json
import math
import re

import numpy as np
import pytest

from avssl.evaluate.rows import Row
from avssl.report.axes import decades, round_ticks, shown_number
from avssl.report.chart import Chart, Line, draw
from avssl.report.curves import MOST_POINTS, curves, split_side
from avssl.report.runs import open_runs
from avssl.report.thinning import thinned
from avssl.train.evaluations import HISTORY, line_of
from tests.report.folders import Page, untrained


def test_a_short_curve_stays_as_it_is():
    points = [(1.0, 2.0), (2.0, None), (3.0, 1.0)]
    assert thinned(points, 3) == points


@pytest.mark.parametrize("most", [20, 60, 300])
def test_a_long_curve_keeps_its_ends_its_peaks_and_its_gaps(most):
    values = np.random.default_rng(0).normal(size=10_000).tolist()
    values[4321], values[7000], values[8000] = 50.0, -50.0, None
    points = [(float(step), value) for step, value in enumerate(values)]
    kept = thinned(points, most)
    assert len(kept) <= most
    assert kept[0] == points[0]
    assert kept[-1] == points[-1]
    assert {points[4321], points[7000], points[8000]} <= set(kept)
    steps = [step for step, _ in kept]
    assert steps == sorted(set(steps))


@pytest.mark.parametrize(
    ("low", "high"),
    [(0.0, 1.0), (-0.013, 0.62), (3.2e-9, 4.1e-9), (5.0, 5.0), (0.0, 0.0), (1e8, 9e9)],
)
def test_ticks_are_round_and_enclose_the_values(low, high):
    ticks = round_ticks(low, high)
    assert 3 <= len(ticks) <= 8
    assert ticks[0] <= low
    assert ticks[-1] >= high
    steps = np.diff(ticks)
    np.testing.assert_allclose(steps, steps[0], rtol=1e-3)


def test_decades_enclose_the_values():
    assert decades(0.02, 30.0) == [0.01, 0.1, 1.0, 10.0, 100.0]
    many = decades(1e-30, 1.0)
    assert len(many) <= 7
    assert many[0] <= 1e-30
    assert many[-1] >= 1.0


@pytest.mark.parametrize(
    ("number", "text"),
    [(4.1966, "4.2"), (0.0, "0"), (640, "640"), (2000, "2000"), (12345, "12.3k"), (3.2e6, "3.2M"),
     (-0.05, "−0.05"), (1.5e-7, "1.5e-7"), (2e12, "2e12")],
)  # fmt: skip
def test_numbers_are_short(number, text):
    assert shown_number(number) == text


def test_sides_of_one_thing():
    assert split_side("video_std") == ("video", "std")
    assert split_side("audio_to_video_top1") == ("audio → video", "top1")
    assert split_side("num_pairs") == ("", "num_pairs")


def test_a_curve_passes_through_its_values():
    drawn = draw(Chart("loss", [Line("loss", [(0.0, 1.0), (50.0, None), (100.0, 3.0)], 0)]), 10)
    # 1 to 3 are the lowest and the highest tick, which lie at the ends of the axis; None is a gap.
    assert 'd="M48.0 180.0h0M348.0 10.0h0"' in drawn
    assert 'data-values="0,1 100,3"' in drawn
    assert draw(Chart("loss", [Line("loss", [(0.0, None)], 0)]), 10) is None


def test_a_large_range_is_logarithmic():
    drawn = draw(Chart("norm", [Line("norm", [(0.0, 0.1), (1.0, 1.0), (2.0, 1000.0)], 0)]), 10)
    assert "logarithmic" in drawn
    middle = 180 - 170 * math.log(10) / math.log(10_000)
    assert f"L198.0 {middle:.1f}" in drawn


@pytest.mark.parametrize("last", [7, 40, 480, 640, 1090, 95000, 2400000])
def test_numbers_of_steps_do_not_touch(last):
    """By widths that Chromium draws: 5.8 a character, 2 between them at least."""
    svg = draw(Chart("loss", [Line("loss", [(0.0, 1.0), (float(last), 2.0)], 0)]), 10)
    shown = re.findall(r'<text x="([\d.]+)" y="196" text-anchor="(\w+)">([^<]*)<', str(svg))
    assert [text for *_, text in shown][-1].startswith("step ")
    ends = -math.inf
    for x, anchor, text in shown:
        width = 5.8 * len(text)
        begins = float(x) - width * {"middle": 0.5, "end": 1}[anchor]
        assert begins >= ends + 2
        ends = begins + width


def drawn_page(tmp_path, runs) -> Page:
    file = tmp_path / "curves.html"
    file.write_text(curves(runs), encoding="utf-8")
    return Page(file)


def test_every_metric_is_drawn_with_its_values(tmp_path):
    page = drawn_page(tmp_path, open_runs([untrained(tmp_path / "run")]))
    values = {
        path["data-label"]: path["data-values"] for path in page.of("path") if "data-label" in path
    }
    assert values["xid: loss"].split() == ["1,4", "2,2", "3,1.333", "4,1", "5,0.8"]
    assert values["video"].startswith(("1,0.1 ", "1,25 "))
    assert values["time spent waiting for data"].startswith("1,12.5 ")
    assert "xid: num pairs" in values, "folded away, but there"
    assert not {"seen clips", "bad clips"} & values.keys()


def test_what_was_evaluated_during_training(tmp_path):
    folder = untrained(tmp_path / "run")
    rows = [
        Row("knn", "video", "top1", 0.25, 0.1, 0.1, 8),
        Row("retrieval", "video->audio", "median_rank", 12.0, 201.0, 200.5, 8),
        Row("retrieval", "audio->video", "median_rank", 9.0, 201.0, 200.5, 8),
    ]
    lines = [line_of(step, rows if step < 4 else rows[1:]) for step in (2, 4)]
    (folder / HISTORY).write_text("".join(json.dumps(line) + "\n" for line in lines))
    page = drawn_page(tmp_path, open_runs([folder]))
    found = [
        (path["data-label"], path["data-values"])
        for path in page.of("path") if path.get("data-values", "").startswith("2,")
    ]  # fmt: skip
    assert found == [
        ("video", "2,25"), ("video → audio", "2,12 4,12"), ("audio → video", "2,9 4,9"),
    ]  # fmt: skip
    assert "knn: top1 %" in page.words
    assert "retrieval: median rank" in page.words


def test_runs_lie_over_one_another(tmp_path):
    runs = open_runs([untrained(tmp_path / name) for name in ("one", "two")])
    page = drawn_page(tmp_path, runs)
    labels = [path["data-label"] for path in page.of("path") if "data-label" in path]
    assert {"one", "two", "one video", "two audio"} <= set(labels)
    losses = [path for path in page.of("path") if path.get("data-values", "").startswith("1,4 ")]
    assert [path["class"] for path in losses] == ["curve c0 d0", "curve c1 d0"]


def test_a_long_log_stays_small(tmp_path):
    short = len(curves(open_runs([untrained(tmp_path / "short", steps=MOST_POINTS)])))
    long = len(curves(open_runs([untrained(tmp_path / "long", steps=20 * MOST_POINTS)])))
    assert long < 1.5 * short


def test_values_that_were_not_finite_leave_a_gap(tmp_path):
    folder = untrained(tmp_path / "run", steps=3)
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    lines[1] = lines[1].replace('"gradient_norm": 1.0', '"gradient_norm": null')
    (folder / "metrics.jsonl").write_text("\n".join(lines) + '\n{"step": 4, "lo')
    (run,) = open_runs([folder])
    assert run.num_torn_lines == 1
    page = drawn_page(tmp_path, [run])
    values = {
        path["data-label"]: path["data-values"] for path in page.of("path") if "data-label" in path
    }
    assert values["norm of the gradient"] == "1,1 3,1"
