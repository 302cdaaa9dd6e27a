"""The table and the judgement of claims, on made-up results."""

import csv
import dataclasses
from xml.etree import ElementTree

import pytest
from scipy.stats import ttest_1samp

from avssl.ablate.exports import write_exports
from avssl.ablate.measured import Measured, Standing
from avssl.ablate.plan import (
    Ablation,
    AblationRow,
    Cell,
    Claim,
    Column,
    PartOfWay,
    Published,
    WithGain,
)
from avssl.ablate.record import Facts, Result, build_runs
from avssl.ablate.table import facts, tables
from avssl.ablate.verdicts import judged
from avssl.evaluate.rows import Row

KNN = ("knn", "video", "top1")
RANK = ("retrieval", "video->audio", "median_rank")
ROWS = tuple(
    AblationRow(name, "tests/train/tiny_config.py", seeds=seeds)
    for name, seeds in {"easy": (0, 1), "hard": (0, 1), "upper": (0,), "never": (0,)}.items()
)
EASY, HARD, UPPER, NEVER = (Cell(row.name, *KNN) for row in ROWS)
VALUES = {
    ("easy", 0): 0.50,
    ("easy", 1): 0.60,
    ("hard", 0): 0.62,
    ("hard", 1): 0.60,
    ("upper", 0): 0.8,
}


def standings(values, tmp_path, failures=()):
    """Each value beside 20 % at random initialisation (seed 1: 22 %) and 10 % by chance."""
    made = []
    for run in build_runs(Ablation(ROWS, (Column(*KNN),)), tmp_path, tmp_path):
        value = values.get((run.row.name, run.seed))
        result = None
        if value is not None:
            origin = Facts("abc", f"machine {run.seed}", 100, 90.0, 100.0)
            rows = [Row(*KNN, value, 0.2 + 0.02 * run.seed, 0.1, 50), Row(*RANK, 3, 20, 25.5, 50)]
            result = Result(run.row.name, run.seed, origin, run.identity, rows)
        made.append(Standing(run, result, dict(failures).get((run.row.name, run.seed), "")))
    return made


def lines_of(text):
    return {line.split(" | ")[0].removeprefix("| "): line for line in text.splitlines()}


def test_rows_and_baselines(tmp_path):
    claims = (
        Claim("c", HARD, 0.55),
        Claim("d", EASY, "random_init", 0.2),
        Claim("e", EASY, "random_init", 0.2),
    )
    columns = (Column(*KNN, label="kNN"), Column(*RANK), Column("linear", "audio", "top1"))
    ablation = Ablation(ROWS, columns, claims)
    failures = {("never", 0): "out of memory | or so", ("easy", 1): "is finished since"}
    found = standings(VALUES, tmp_path, failures)
    lines = lines_of(tables(ablation, found))
    rank = "3.0 ± 0.0"
    assert lines["row"] == "| row | kNN | retrieval video->audio median_rank | seeds | minutes |"
    assert lines["easy"] == f"| easy | 55.0 ± 7.1 % | {rank} | 2 | 1.5 |"
    assert lines["upper"] == "| upper | 80.0 % | 3.0 | 1 | 1.5 |"
    assert lines["never"] == "| never | failed | failed | 0 of 1 | – |"
    assert lines["random initialisation"].startswith(
        "| random initialisation | 20.0 – 22.0 % | 20.0 |"
    )
    assert lines["chance"].startswith("| chance | 10.0 % | 25.5 |")
    assert lines["bar"] == "| bar | 55.0 %; random +20.0 | – |  |  |"
    assert list(facts(found, ablation)) == [
        "5 of 6 runs measured, 500 steps in 0.1 h of training",
        "commit abc",
        "machine 0",
        "machine 1",
        "±: standard deviation over seeds (n - 1)",
        "never seed 0 failed: out of memory | or so",
    ]


def test_nothing_is_there_yet(tmp_path):
    found = standings({}, tmp_path)
    ablation = Ablation(ROWS, (Column(*KNN),), (Claim("c", EASY, 0.5),))
    lines = lines_of(tables(ablation, found))
    assert "easy" not in lines
    assert lines["c"] == "| c | not measured: easy | – |"
    assert list(facts(found, ablation)) == [
        "0 of 6 runs measured",
        "not run yet: easy, hard, upper, never",
    ]


@pytest.mark.parametrize(
    ("claim", "text", "verdict"),
    [
        (
            Claim("", HARD, EASY),
            "61.0 ± 1.4 % against 55.0 ± 7.1 % (easy), +6.0 points, in 1 of 2 seeds", "seeds disagree",
        ),
        (
            Claim("", HARD, EASY, 0.06),
            "61.0 ± 1.4 % against 55.0 ± 7.1 % (easy), +6.0 points (needs +6.0), in 1 of 2 seeds",
            "seeds disagree",
        ),
        (Claim("", HARD, EASY, 0.061), "needs +6.1", "seeds disagree"),
        (Claim("", HARD, EASY, 0.121), "needs +12.1), in 0 of 2 seeds", "no"),
        (Claim("", EASY, HARD), "-6.0 points, in 0 of 2 seeds", "no"),
        (Claim("", EASY, EASY), "+0.0 points, in 0 of 2 seeds", "no"),
        (
            Claim("", HARD, UPPER),
            "62.0 % against 80.0 % (upper), -18.0 points, in 0 of 1 seed", "no (one seed)",
        ),
        (Claim("", HARD, 0.61), "(bar), +0.0 points, in 1 of 2 seeds", "seeds disagree"),
        (Claim("", HARD, 0.62), "-1.0 points, in 1 of 2 seeds", "seeds disagree"),
        (Claim("", HARD, 0.6), "+1.0 points, in 2 of 2 seeds", "yes"),
        (Claim("", HARD, 0.63), "-2.0 points, in 0 of 2 seeds", "no"),
        (Claim("", HARD, "random_init", 0.38), "against 21.0 ± 1.4 % (random init", "yes"),
        (Claim("", HARD, "random_init", 0.41), "+40.0 points (needs +41.0)", "seeds disagree"),
        (Claim("", HARD, "chance"), "10.0 ± 0.0 % (chance), +51.0 points, in 2 of 2", "yes"),
        # 20 % + 0.7 x (80 % - 20 %), at the one seed that the upper bound has.
        (
            Claim("", HARD, PartOfWay(0.7, UPPER)),
            "62.0 % against 62.0 % (70% of the way from random initialisation to upper)", "yes (one seed)",
        ),
        (Claim("", HARD, PartOfWay(0.71, UPPER)), "against 62.6 %", "no (one seed)"),
        # 80 % + (62 % - 50 %).
        (
            Claim("", HARD, WithGain(UPPER, better=HARD, worse=EASY)),
            "(upper and what hard gains over easy, if anything, in knn video top1), -30.0 points",
            "no (one seed)",
        ),
        # 50 % and 60 %: without a gain there, the gain here must still be one.
        (
            Claim("", HARD, WithGain(EASY, better=EASY, worse=HARD)),
            "against 55.0 ± 7.1 %", "seeds disagree",
        ),
        (Claim("", EASY, WithGain(HARD, better=EASY, worse=UPPER)), "-12.0 points", "no (one seed)"),
        (Claim("", HARD, WithGain(EASY, better=HARD, worse=EASY)), "0.0 points", "no"),
        (Claim("", HARD, WithGain(EASY, better=NEVER, worse=EASY)), "not measured: never", "–"),
        (Claim("", HARD, NEVER), "not measured: never", "–"),
        (Claim("", NEVER, HARD), "not measured: never", "–"),
        (Claim("", HARD, PartOfWay(0.5, NEVER)), "not measured: never", "–"),
        (
            Claim("", Cell("hard", "knn", "audio", "top1"), 0.5),
            "not measured: hard has no knn audio top1", "–",
        ),
        (
            Claim("", HARD, Cell("easy", "knn", "audio", "top1")),
            "not measured: easy has no knn audio top1", "–",
        ),
    ],
)  # fmt: skip
def test_claims(claim, text, verdict, tmp_path):
    measured, answer = judged(claim, Measured(standings(VALUES, tmp_path)))
    assert text in measured
    assert answer == verdict


@pytest.mark.parametrize(
    ("claim", "text", "verdict"),
    [
        (Claim("", EASY, HARD), "55.0 % against 62.0 % (hard), -7.0 points, in 1 of 1 seed", "yes"),
        (Claim("", HARD, EASY), "+7.0 points, in 0 of 1 seed", "no"),
        (Claim("", EASY, HARD, 0.08), "-7.0 points (needs -8.0)", "no"),
        (Claim("", EASY, 0.55), "+0.0 points", "yes"),
        (Claim("", EASY, "random_init"), "55.0 % against 20.0 % (random init", "no"),
        # What is worse gains nothing: 62 %, and not 69 %.
        (Claim("", EASY, WithGain(HARD, better=HARD, worse=EASY)), "against 62.0 %", "yes"),
    ],
)
def test_of_an_error_rate_less_is_better(claim, text, verdict, tmp_path):
    found = standings({("easy", 0): 0.55, ("hard", 0): 0.62}, tmp_path)

    def of_errors(cell):
        if isinstance(cell, WithGain):
            cells = cell.cell, cell.better, cell.worse
            return WithGain(*map(of_errors, cells))
        if not isinstance(cell, Cell):
            return cell
        return dataclasses.replace(cell, protocol="identity", features="audio", metric="eer")

    for one in found:
        if one.result:
            one.result.rows[0] = dataclasses.replace(
                one.result.rows[0], protocol="identity", features="audio", metric="eer"
            )
    claim = dataclasses.replace(claim, cell=of_errors(claim.cell), above=of_errors(claim.above))
    measured, answer = judged(claim, Measured(found))
    assert text in measured
    assert answer == f"{verdict} (one seed)"
    bars = lines_of(tables(Ablation(ROWS, (Column("identity", "audio", "eer"),), (claim,)), found))
    if claim.above == 0.55:
        assert bars["bar"].startswith("| bar | 55.0 %")


def test_a_mistyped_number_is_told_from_one_that_waits(tmp_path):
    columns = Column("knn", "vidoe", "top1"), Column("linear", "video", "top1")
    ablation = Ablation(ROWS, columns, (Claim("", Cell("hard", "knn", "video", "top_1"), 0.5),))
    said = list(facts(standings(VALUES, tmp_path), ablation))
    assert "no result has 'knn vidoe top1'; the nearest is 'knn video top1'" in said
    assert "no result has 'knn video top_1'; the nearest is 'knn video top1'" in said
    # No result has this protocol yet.
    assert not any("linear" in fact for fact in said)


def test_what_the_table_shows_as_no_difference_is_none(tmp_path):
    for more, verdict in ((0.0004, "no"), (0.0006, "yes")):
        values = {("easy", 0): 0.5, ("hard", 0): 0.5 + more}
        found = Measured(standings(values, tmp_path / verdict))
        assert judged(Claim("", HARD, EASY), found)[1] == f"{verdict} (one seed)"


def test_rows_without_a_common_seed_are_not_compared(tmp_path):
    found = Measured(standings({("easy", 0): 0.5, ("hard", 1): 0.9}, tmp_path))
    assert judged(Claim("", HARD, EASY), found) == ("not measured with the same seed", "–")


def test_what_no_random_weights_give_has_no_baseline(tmp_path):
    found = standings(VALUES, tmp_path)
    for one in found:
        if one.result:
            one.result.rows[0] = dataclasses.replace(one.result.rows[0], random_init=None)
    told = "not measured: hard has no random initialisation in knn video top1"
    for above in ("random_init", PartOfWay(0.5, UPPER)):
        assert judged(Claim("", HARD, above), Measured(found)) == (told, "–")
    columns = (Column(*KNN), Column(*RANK))
    lines = lines_of(tables(Ablation(ROWS, columns), found))
    assert lines["random initialisation"].startswith("| random initialisation | – | 20.0 |")
    write_exports(tmp_path / "out", "A title", Ablation(ROWS, columns), found)
    plot = (tmp_path / "out" / "plot.svg").read_text()
    assert plot.count('class="b"') == 6
    assert plot.count('class="r"') == 3  # of the ranks


def test_notes_stand_below_the_claims(tmp_path):
    claims, notes = (Claim("c", HARD, 0.5),), ("Because of that.", "And of this.")
    printed = Published("Paper", ("row",), (("one",),))
    text = tables(
        Ablation(ROWS, (Column(*KNN),), claims, "", printed, "", notes), standings({}, tmp_path)
    )
    assert "| – |\n\n- Because of that.\n- And of this.\n\nAs published" in text


def test_best_and_different_from_the_base(tmp_path):
    """Hard is 10 and 12 points above easy: t = 11, p = 0.058; with 10 and 10.5 points t = 41, p = 0.016."""
    ablation = Ablation(ROWS, (Column(*KNN, label="kNN"), Column(*RANK)), base="easy")
    close = {("easy", 0): 0.5, ("easy", 1): 0.6, ("hard", 0): 0.6, ("hard", 1): 0.72}
    lines = lines_of(tables(ablation, standings(close, tmp_path)))
    assert "| **66.0 ± 8.5 %** | 3.0 ± 0.0 | 2 |" in lines["hard"]
    found = standings({**close, ("hard", 1): 0.705}, tmp_path)
    lines = lines_of(tables(ablation, found))
    assert r"| **65.2 ± 7.4 % \*** |" in lines["hard"]
    assert "| 55.0 ± 7.1 % | **3.0 ± 0.0** |" in lines["easy"]
    assert any("differs from easy, p < 0.05" in fact for fact in facts(found, ablation))
    differences = [[close["hard", seed] - close["easy", seed] for seed in (0, 1)], [0.1, 0.105]]
    for values, expected in zip(differences, (False, True), strict=True):
        p = ttest_1samp(values, 0.0).pvalue
        assert (p < 0.05) == expected


def test_one_row_is_no_best(tmp_path):
    ablation = Ablation(ROWS, (Column(*KNN),), base="easy")
    lines = lines_of(tables(ablation, standings({("easy", 0): 0.5}, tmp_path)))
    assert "**" not in lines["easy"]


def test_exports(tmp_path):
    columns = (Column(*KNN, label="kNN_1 & 2"), Column(*RANK))
    ablation = Ablation(ROWS, columns, base="easy")
    found = standings({**VALUES, ("hard", 0): 0.6, ("hard", 1): 0.705}, tmp_path)
    write_exports(tmp_path / "out", "A <title>", ablation, found)
    with open(tmp_path / "out" / "table.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 10
    assert rows[0] == {
        "row": "easy", "seed": "0", "protocol": "knn", "features": "video", "metric": "top1",
        "value": "0.5", "random_init": "0.2", "chance": "0.1", "n": "50",
    }  # fmt: skip
    tex = (tmp_path / "out" / "table.tex").read_text()
    assert r"row & kNN\_1 \& 2 & retrieval video->audio median\_rank & seeds & minutes \\" in tex
    assert r"hard & 65.2 $\pm$ 7.4 \%$^*$ & 3.0 $\pm$ 0.0 & 2 & 1.5 \\" in tex
    assert r"upper & \textbf{80.0 \%} & 3.0 & 1 & 1.5 \\" in tex
    plot = ElementTree.parse(tmp_path / "out" / "plot.svg").getroot()
    texts = ["".join(node.itertext()) for node in plot.iter("{http://www.w3.org/2000/svg}text")]
    assert "A <title>" in texts
    assert "80.0 %" in texts
    bars = [
        node for node in plot.iter("{http://www.w3.org/2000/svg}rect") if node.get("class") == "b"
    ]
    assert [float(bar.get("width")) for bar in bars[:3]] == [176.0, 208.8, 256.0]
