"""Folds: means over run folders, what is no fold of the same, a fold of one class, and missing videos."""

import json
import re
import statistics
from types import SimpleNamespace

import pytest

from avssl.config import load_config, to_json
from avssl.evaluate.missing import tell_missing
from avssl.evaluate.rows import Row, read_json, write_json
from tests.conftest import TINY_CONFIG
from tests.data.published.trees import opened, plant, video

TOP1 = ("classification", "video", "top1")
VALUES = (0.5, 0.7, 0.75)


def fold(folder, number, *rows, **changed):
    config = to_json(load_config("configs/finetune/ucf101.py"))
    for part, key in (("trainlist", "source"), ("trainlist", "data"), ("testlist", "test_data")):
        section = "data" if key == "source" else "eval"
        config[section][key] = f"ucf101:data/ucf101@{part}0{number}"
    config["seed"] = changed.pop("seed", 0)
    config["optimizer"].update(changed)
    run = folder / f"fold{number}-{config['seed']}"
    run.mkdir()
    (run / "config.json").write_text(json.dumps(config))
    write_json(run / "eval.json", rows, "avssl evaluate")
    return run


@pytest.fixture
def folds(tmp_path):
    found = []
    for number, value in enumerate(VALUES, start=1):
        rows = [Row(*TOP1, value, 0.1 * number, 0.01, 100 * number, value - 0.1, value + 0.1)]
        rows += [Row("knn", "video", "top1", 0.4, 0.3, 0.01, 50)] if number == 1 else []
        found.append(fold(tmp_path, number, *rows))
    return found


def test_mean_and_spread_of_folds(folds, run, tmp_path):
    code, out, err = run(
        "evaluate", "--workdir", *folds, "--average", "--json", tmp_path / "mean.json",
        "--results", tmp_path / "R.md", "--title", "UCF101",
    )  # fmt: skip
    assert code == 0, err
    [row] = read_json(tmp_path / "mean.json")
    assert row.value == pytest.approx(0.65)
    assert row.random_init == pytest.approx(0.2)
    assert row.spread == pytest.approx(statistics.stdev(VALUES))
    assert (row.n, row.low, row.high) == (600, None, None)
    assert "65.0 ± 13.2 %" in out
    assert "left out: knn video top1, which fold2-0, fold3-0 has not" in out
    text = (tmp_path / "R.md").read_text()
    assert "| 65.0 ± 13.2 % | – | 20.0 % | +45.0 | 1.0 % | 600 |" in text
    assert "over 3 runs: fold1-0, fold2-0, fold3-0" in text


def test_seeds_of_a_fold_are_averaged_too(folds, run, tmp_path):
    again = fold(tmp_path, 1, Row(*TOP1, 0.5, 0.1, 0.01, 100), seed=1)
    assert run("evaluate", "--workdir", *folds, again, "--average")[0] == 0


def test_each_seed_may_have_teachers_and_an_object_encoder_of_its_own(run, tmp_path):
    made = []
    for seed, random in ((0, None), (1, None)):
        made.append(fold(tmp_path, 1, Row(*TOP1, 0.4 + 0.2 * seed, random, 0.01, 100), seed=seed))
        file = made[-1] / "config.json"
        config = json.loads(file.read_text())
        config["eval"]["object_encoder"] = f"runs/pictures-{seed}"
        config["teachers"]["sound"] = {
            "run": f"runs/labels-{seed}",
            "hash": f"{seed}",
            "view": "audio",
        }
        file.write_text(json.dumps(config))
    words = ("evaluate", "--workdir", *made, "--average", "--json", tmp_path / "mean.json")
    code, _, err = run(*words)
    assert code == 0, err
    [row] = read_json(tmp_path / "mean.json")
    assert (row.value, row.random_init) == (pytest.approx(0.5), None)
    config["teachers"]["sound"]["view"] = "other"
    file.write_text(json.dumps(config))
    code, _, err = run(*words)
    assert code == 2
    assert "teachers.sound.view is other and not audio" in err


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda tmp: [fold(tmp, 4, Row(*TOP1, 0.5, 0.1, 0.01, 9), learning_rate=0.5)],
         r"optimizer\.learning_rate is 0\.5 and not 0\.0001"),
        (lambda tmp: [tmp / "fold1-0"], "are the same fold with the same seed"),
        (lambda tmp: [tmp], "is no run folder"),
        (lambda tmp: ["--clips", "3"], "leave out --clips"),
    ],
)  # fmt: skip
def test_what_is_no_fold_of_the_others(wrong, said, folds, run, tmp_path):
    code, _, err = run("evaluate", "--average", "--workdir", *folds, *wrong(tmp_path))
    assert code == 2
    assert len(err.splitlines()) == 1
    assert re.search(said, err), err


def test_runs_without_numbers(folds, run):
    assert "add --average" in run("evaluate", "--workdir", *folds)[2]
    assert "takes several run folders" in run("evaluate", "--workdir", folds[0], "--average")[2]
    (folds[1] / "eval.json").write_text("{")
    assert "eval.json is damaged" in run("evaluate", "--workdir", *folds, "--average")[2]
    (folds[1] / "eval.json").unlink()
    code, _, err = run("evaluate", "--workdir", *folds, "--average")
    assert code == 2
    assert f"{folds[1]} has no eval.json: measure it first" in err


def test_a_fold_of_one_class_is_refused_before_training(run, tmp_path):
    plant(tmp_path / "videos", {f"only/{number}.mp4": video() for number in range(9)})
    code, _, err = run(
        "finetune", "--config", TINY_CONFIG, "--workdir", tmp_path / "run",
        "--config.objectives.classify.weight=1", f"--config.data.source=folder:{tmp_path}/videos",
    )  # fmt: skip
    assert code == 2
    assert "the 9 clips of" in err
    assert "have one alone: take a fold" in err
    assert not (tmp_path / "run").exists()


def test_missing_videos_are_counted_and_all_named(tmp_path, capsys):
    names = [f"A/v_A_g01_c0{number}.avi" for number in range(6)]
    root = plant(
        tmp_path / "ucf",
        {
            "classInd.txt": "1 A\n2 B\n",
            "testlist01.txt": "\n".join(names) + "\n",
            **{name: video() for name in names[:2]},
        },
    )
    source, file = opened("ucf101", root, "testlist01"), tmp_path / "eval.missing.txt"
    [line] = tell_missing((source, source), file)
    assert "4 of 6 records are not on disk (A/v_A_g01_c02.avi, " in line
    assert line.endswith("c04.avi, ...); results are over 2")
    assert f"all names are in {file}" in capsys.readouterr().out
    assert file.read_text().splitlines() == [f"{source.spec}: {name}" for name in names[2:]]
    whole = SimpleNamespace(spec="whole", parts=((SimpleNamespace(spec="part"), 1.0),))
    assert tell_missing((whole,), file) == []
    assert not file.exists()
