"""`avssl finetune`: from the encoders of another run, or from scratch and it says so; scored by windows."""

import json

import pytest

from tests.conftest import TINY_CONFIG
from tests.data.published.test_picture_sets import picture
from tests.data.published.trees import plant

CONFIG = f"""
from avssl.config import variant_of
from avssl.config import load_config


def get_config(variant=""):
    config = load_config("{TINY_CONFIG}")
    config.steps = 3
    config.checkpoint.every_steps = 3
    config.data.class_balanced = True
    config.objectives = dict(classify=dict(weight=1.0, modalities=("video", "audio")))
    config.optimizer.frozen = ("^encoders/video/",)
    config.eval.protocols = ("classification", "knn")
    config.eval.clips = 2
    return variant_of(config, variant)
"""


@pytest.fixture
def config(tmp_path):
    file = tmp_path / "tuned.py"
    file.write_text(CONFIG)
    return file


def test_from_a_run_and_from_scratch(config, tmp_path, run):
    start, tuned, scratch = (tmp_path / name for name in ("start", "tuned", "scratch"))
    brief = ["--config.steps=2", "--config.checkpoint.every_steps=2"]
    assert run("pretrain", "--config", TINY_CONFIG, "--workdir", start, *brief)[0] == 0

    code, out, err = run("finetune", "--config", config, "--init", start, "--workdir", tuned)
    assert code == 0, err
    assert f"start: step 2 of {start} (init_from)" in out
    assert "left at random: params/objectives/classify" in out
    assert "scratch" not in out
    assert json.loads((tuned / "config.json").read_text())["init_from"] == str(start)
    assert "classification and tagging: mean of 2 windows x 1 crops of each clip" in out
    rows = json.loads((tuned / "eval.json").read_text())["rows"]
    assert {(row["protocol"], row["features"]) for row in rows} >= {("classification", "joint")}

    code, out, err = run(
        "evaluate", "--workdir", tuned, "--protocols", "classification", "--clips", 3, "--crops", 2,
        "--json", tmp_path / "more.json",
    )  # fmt: skip
    assert code == 0, err
    assert "mean of 3 windows x 2 crops" in out
    more = json.loads((tmp_path / "more.json").read_text())["rows"]
    assert [row["metric"] for row in more] == ["top1"]

    code, out, err = run(
        "finetune", "--config", config, "--workdir", scratch, "--config.eval.protocols=()"
    )
    assert code == 0, err
    assert "no --init RUN: trains from scratch" in out

    # A run of sight and sound on pictures: its video side alone.
    pictures = plant(
        tmp_path / "pictures",
        {
            f"{part}/class{number % 2}/{number}.jpg": picture(number)
            for part in ("train", "test")
            for number in range(6)
        },
    )
    code, out, err = run(
        "evaluate", "--workdir", start, "--data", f"images:{pictures}@train",
        "--test-data", f"images:{pictures}@test", "--protocols", "knn,linear_tags,retrieval",
        "--json", tmp_path / "pictures.json",
    )  # fmt: skip
    assert code == 0, err
    assert "has no audio: left out: encoder 'audio', objective 'xid'" in out
    assert out.count("left out: encoder") == 1
    assert "left out: retrieval, as it asks what is left out of the model" in out
    rows = json.loads((tmp_path / "pictures.json").read_text())["rows"]
    found = {(row["protocol"], row["features"], row["metric"]): row for row in rows}
    assert set(found) == {
        ("knn", "video", "top1"), ("linear_tags", "video", "map"),
        ("linear_tags", "video", "map_11_point"),
    }  # fmt: skip
    # The test pictures are the training ones.
    assert found["linear_tags", "video", "map"]["value"] > 0.7
    assert found["knn", "video", "top1"]["n"] == 6
