"""The table and the judgement of claims, on made-up results."""

import pytest

from avssl.ablate.plan import Ablation, AblationRow, Cell, Claim, Column, PartOfWay
from avssl.ablate.record import Facts, Result, build_runs
from avssl.ablate.table import Measured, Standing, facts, judged, tables
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
    assert list(facts(found)) == [
        "5 of 6 runs measured, 500 steps in 0.1 h of training",
        "commit abc",
        "machine 0",
        "machine 1",
        "±: standard deviation over seeds (n - 1)",
        "never seed 0 failed: out of memory | or so",
    ]


def test_nothing_is_there_yet(tmp_path):
    found = standings({}, tmp_path)
    lines = lines_of(tables(Ablation(ROWS, (Column(*KNN),), (Claim("c", EASY, 0.5),)), found))
    assert "easy" not in lines
    assert lines["c"] == "| c | not measured: easy | – |"
    assert list(facts(found)) == ["0 of 6 runs measured", "not run yet: easy, hard, upper, never"]


@pytest.mark.parametrize(
    ("claim", "text", "verdict"),
    [
        (
            Claim("", HARD, EASY),
            "61.0 ± 1.4 % against 55.0 ± 7.1 % (easy), +6.0 points, in 1 of 2 seeds", "yes",
        ),
        (
            Claim("", HARD, EASY, 0.06),
            "61.0 ± 1.4 % against 55.0 ± 7.1 % (easy), +6.0 points (needs +6.0), in 1 of 2 seeds",
            "yes",
        ),
        (Claim("", HARD, EASY, 0.061), "needs +6.1", "no"),
        (Claim("", EASY, HARD), "-6.0 points, in 0 of 2 seeds", "no"),
        (Claim("", EASY, EASY), "+0.0 points, in 0 of 2 seeds", "no"),
        (Claim("", HARD, UPPER), "62.0 % against 80.0 % (upper), -18.0 points, in 0 of 1 seed", "no"),
        (Claim("", HARD, 0.61), "against 61.0 % (bar), +0.0 points, in 1 of 2 seeds", "yes"),
        (Claim("", HARD, 0.62), "-1.0 points", "no"),
        (Claim("", HARD, "random_init", 0.4), "against 21.0 ± 1.4 % (random init", "yes"),
        (Claim("", HARD, "random_init", 0.41), "+40.0 points (needs +41.0)", "no"),
        (Claim("", HARD, "chance"), "10.0 ± 0.0 % (chance), +51.0 points, in 2 of 2", "yes"),
        # 20 % + 0.7 x (80 % - 20 %), at the one seed that the upper bound has.
        (
            Claim("", HARD, PartOfWay(0.7, UPPER)),
            "62.0 % against 62.0 % (70% of the way from random initialisation to upper)", "yes",
        ),
        (Claim("", HARD, PartOfWay(0.71, UPPER)), "against 62.6 %", "no"),
        (Claim("", HARD, NEVER), "not measured: never", "–"),
        (Claim("", NEVER, HARD), "not measured: never", "–"),
        (Claim("", HARD, PartOfWay(0.5, NEVER)), "not measured: never", "–"),
        (Claim("", Cell("hard", "knn", "audio", "top1"), 0.5), "not measured: hard", "–"),
        (
            Claim("", HARD, Cell("easy", "knn", "audio", "top1")), "not measured: easy", "–",
        ),
    ],
)  # fmt: skip
def test_claims(claim, text, verdict, tmp_path):
    measured, answer = judged(claim, Measured(standings(VALUES, tmp_path)))
    assert text in measured
    assert answer == verdict


def test_rows_without_a_common_seed_are_not_compared(tmp_path):
    found = Measured(standings({("easy", 0): 0.5, ("hard", 1): 0.9}, tmp_path))
    assert judged(Claim("", HARD, EASY), found) == ("not measured with the same seed", "–")
