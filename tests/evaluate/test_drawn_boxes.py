"""The detector of MM-DistillNet learns boxes that people drew, and is scored by them."""

import json

import jax
import pytest

from avssl.cli import main
from avssl.train import run
from avssl.train.mesh import make_mesh
from tests.data.published.test_picture_sets import RIGHT_HALF, annotation, picture
from tests.data.published.trees import plant, rows

CONFIG = "configs/distill/mm_distillnet.py:teacher+quicktest"
NUMBERS = range(1, 9)


@pytest.fixture
def light(tmp_path):
    """Cars of VOC 2007, and a picture of none."""
    files = {"ImageSets/Main/car_trainval.txt": rows(*(f"{n}  1" for n in NUMBERS), "9 -1")}
    for n in (*NUMBERS, 9):
        files |= {f"JPEGImages/{n}.jpg": picture(n)}
        files |= {f"Annotations/{n}.xml": annotation(("car", RIGHT_HALF, False))}
    return f"voc2007:{plant(tmp_path, files)}@car_trainval"


@pytest.fixture
def depth(tmp_path):
    files = {f"{n}.png": picture(n, "PNG") for n in NUMBERS}
    listed = (f"{name},depth,0.5 0 1 1 car" for name in files)
    plant(tmp_path, {**files, "depth.csv": rows("path,stream,boxes", *listed)})
    return f"manifest:{tmp_path}/depth.csv"


@pytest.mark.slow
@pytest.mark.parametrize(("eye", "stream"), [("light", ""), ("depth", "depth")])
def test_a_teacher_of_pictures(eye, stream, request, tmp_path, monkeypatch):
    # What it learns does not depend on the devices.
    monkeypatch.setattr(run, "make_mesh", lambda fsdp, *_, **__: make_mesh(fsdp, jax.devices()[:1]))
    data, folder = request.getfixturevalue(eye), str(tmp_path / "run")
    keys = [f"--config.data.source={data}", f"--config.views.video.stream={stream}"]
    assert main(["pretrain", "--config", CONFIG, "--workdir", folder, *keys]) == 0
    flags = ["--workdir", folder, "--data", data, "--test-data", data, "--protocols", "detection"]
    assert main(["evaluate", *flags]) == 0
    scored = json.loads((tmp_path / "run" / "eval.json").read_text())["rows"]
    assert [row["n"] for row in scored if row["metric"] == "map"] == [8]
