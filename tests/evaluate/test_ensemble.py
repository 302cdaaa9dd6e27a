"""`--truth teachers`: a student is scored by the boxes that its teachers see together."""

import dataclasses
import json
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from avssl.cli import main
from avssl.config import load_config, resolve
from avssl.data.boxes import Detections, suppressed
from avssl.data.open import open_source
from avssl.errors import UsageError
from avssl.evaluate.ensemble import Ensemble, check_truth, ensemble_of
from avssl.evaluate.finds import listed
from avssl.teachers.answers import answers, divisible
from avssl.teachers.open import NO_TEACHERS
from avssl.train import run
from avssl.train.build_model import build_model
from avssl.train.mesh import make_mesh

CONFIG = "configs/world/mm_distillnet.py:quicktest"
STUDENT = "mm_distillnet"
# As random networks are sure of nothing.
LEAST_SCORE = 1e-3
EYES = ("rgb", "thermal")
NUM_CLIPS = 4


@pytest.fixture(scope="module")
def ensemble():
    """Of a run of two random teachers."""
    config = load_config(CONFIG)
    config.objectives[STUDENT].update(teachers=EYES, teacher_score=LEAST_SCORE)
    del config.teachers.depth
    for eye in EYES:
        config.teachers[eye].shapes = dict(boxes=(16, 6), attention=(84,))
    config.data.num_records = 16
    found = ensemble_of(resolve(config))

    def frank(one):
        detector = one.teacher.detector.clone(least_score=LEAST_SCORE)
        return dataclasses.replace(one, teacher=dataclasses.replace(one.teacher, detector=detector))

    online = {name: frank(one) for name, one in found.teachers.online.items()}
    return dataclasses.replace(found, teachers=dataclasses.replace(found.teachers, online=online))


def sides_of(spec):
    source = open_source(spec)
    test = SimpleNamespace(index=np.arange(NUM_CLIPS))
    return SimpleNamespace(test=test, scored=(source, test.index), workers=0, compiled={})


def test_boxes_of_all_teachers_become_one_list_a_clip(ensemble):
    sides = sides_of("world:tiny_vehicles@test")
    together = ensemble.boxes(STUDENT, sides)
    said = []
    for one in ensemble.teachers.online.values():
        [(_, targets)] = answers(
            one, sides.scored[0], ("boxes",), batch_size=divisible(NUM_CLIPS), indices=sides.test.index
        )  # fmt: skip
        said.append([listed(boxes) for boxes in targets["boxes"][:NUM_CLIPS]])
    for clip, found in enumerate(together):
        each = [boxes[clip] for boxes in said]
        pooled = Detections(*(np.concatenate([getattr(one, part) for one in each])
                              for part in ("boxes", "labels", "scores")))  # fmt: skip
        expected = suppressed(pooled, by_class=False)
        assert len(found) == min(len(expected), 16)
        np.testing.assert_allclose(found.boxes, expected.boxes[:16], atol=1e-5)
    assert sum(map(len, together)) > NUM_CLIPS
    assert ensemble.boxes(STUDENT, sides) is together


def test_teachers_that_see_nothing_are_no_truth(ensemble, monkeypatch, capsys):
    sides = sides_of("world:tiny_vehicles@test")
    rows = [(clip, np.zeros((16, 6)), clip > 0) for clip in range(NUM_CLIPS)]
    monkeypatch.setattr(Ensemble, "told", lambda *_: rows)
    with pytest.raises(UsageError, match=r"'mm_distillnet' are sure of no box in 4 clips of world"):
        ensemble.boxes(STUDENT, sides)
    assert "1 of 4 clips show some teacher nothing" in capsys.readouterr().out
    del rows[2]
    with pytest.raises(UsageError, match="cannot be read as its teachers see it: remove it"):
        ensemble.boxes(STUDENT, sides)
    with pytest.raises(UsageError, match="the view 'thermal' of teacher 'thermal' needs"):
        ensemble.check(ensemble.model, sides_of("world:tiny@test").scored)


def test_teachers_of_another_run_take_students_of_the_same_places(ensemble):
    part = sides_of("world:tiny_vehicles@test").scored
    ensemble.check(ensemble.model, part)
    student = student_of("configs/world/detect.py:quicktest")
    ensemble.check(student, part)
    assert ensemble.objective("detect") is ensemble.objective(STUDENT)
    view = dataclasses.replace(student.views["video"], crop="squash")
    with pytest.raises(
        UsageError, match=r"crop=squash, and .* crop=center: both must see the same part"
    ):
        ensemble.check(dataclasses.replace(student, views={"video": view}), part)


def student_of(config):
    config = load_config(config)
    config.data.num_records = 16
    return build_model(resolve(config))


def test_what_no_teachers_are_asked_for_is_refused():
    with pytest.raises(UsageError, match=r"--truth is 'teachers'.*'teacher' is neither"):
        check_truth("teacher", ("detection",))
    with pytest.raises(UsageError, match="is of the protocol detection: add it"):
        check_truth("teachers", ("knn",))
    alone = Ensemble(student_of("configs/world/detect.py:quicktest"), NO_TEACHERS)
    with pytest.raises(UsageError, match="objective 'detect' is told no boxes"):
        alone.check(alone.model, sides_of("world:tiny_vehicles@test").scored)
    config = load_config(CONFIG)
    config.teachers.rgb.store = "runs/boxes"
    with pytest.raises(UsageError, match=r"store alone: state teachers\.rgb\.run"):
        ensemble_of(resolve(config))


@pytest.mark.slow
def test_a_student_of_a_run(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "make_mesh", lambda fsdp, *_, **__: make_mesh(fsdp, jax.devices()[:1]))
    teacher, student = str(tmp_path / "teacher"), str(tmp_path / "student")
    command = ["pretrain", "--config.eval.protocols=()", "--config"]
    sure = f"--config.objectives.detect.least_score={LEAST_SCORE}"
    assert main([*command, "configs/world/detect.py:quicktest", "--workdir", teacher, sure]) == 0
    flags = [f"--config.teachers.rgb.run={teacher}", "--workdir", student]
    flags.append(f"--config.objectives.mm_distillnet.teacher_score={LEAST_SCORE}")
    assert main([*command, "configs/world/mm_distillnet.py:rgb+quicktest", *flags]) == 0
    data = ["--data", "world:tiny_vehicles@train", "--test-data", "world:tiny_vehicles@test"]
    flags = ["--workdir", student, *data, "--protocols", "detection"]
    told = {}
    for truth in ([], ["--truth", "teachers"]):
        assert main(["evaluate", *flags, *truth]) == 0
        rows = json.loads((tmp_path / "student" / "eval.json").read_text())["rows"]
        told[bool(truth)] = {row["metric"] for row in rows}
    assert "map" in told[False]
    assert "teachers/map" in told[True]
    assert {name.partition("/")[0] for name in told[True]} == {"teachers"}
    flags = ["--workdir", teacher, *data, "--protocols", "detection", "--truth", student]
    assert main(["evaluate", *flags]) == 0
