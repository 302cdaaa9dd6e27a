"""Teachers that are functions of a file: online, from a store, and what is wrong with one in a sentence."""

import jax
import numpy as np
import pytest

from avssl.config import load_config, resolve
from avssl.data.open import open_source
from avssl.errors import UsageError
from avssl.teachers.function import teacher_of
from avssl.teachers.open import open_teachers
from avssl.train.build_model import build_model
from avssl.train.stream import training_pipeline
from tests.teachers.stores import DATA

CONFIG = "tests/teachers/student_config.py"
SEEN, TAUGHT = ("views", "geometry", "present", "row", "index"), ("targets", "taught", "untaught")
FILE = """
import jax.numpy as jnp

from avssl.teachers.function import Function


def loudness(sound):
    power = jnp.square(sound).mean(axis=(1, 2))
    return {"embedding": jnp.stack([power, 2 * power], axis=1), "logits": jnp.log(power + 1)}


def get_teacher():
    return Function(loudness, view=dict(modality="audio", seconds=0.25, rate=8000))
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "loudness.py"
    path.write_text(FILE)
    return path


def student(file, **keys):
    config = load_config(CONFIG)
    spec = dict(run=str(file), view="audio", targets=("embedding",), **keys)
    config.update_from_flattened_dict({"teachers.teacher": spec, "objectives.distill.loss": "hint"})
    for view in config.views.values():
        view.window = "center"
    config.views.audio.update(align="center", volume=0.0)
    return config


def first_batch(config):
    """(the batch, what its teachers say)."""
    source = open_source(DATA)
    config, teachers = open_teachers(resolve(config), source)
    model = build_model(config)
    pipeline = training_pipeline(config, source, model, np.arange(len(source)), teachers)
    with pipeline.batches(0) as batches:
        batch = next(batches)
    seen = {key: batch[key] for key in (*SEEN, *TAUGHT) if key in batch}
    said = jax.jit(
        lambda rows: teachers.teach(model.taught, {"teacher": {}}, rows, jax.random.key(0))
    )
    return batch, jax.device_get(said(seen))


def test_it_is_given_what_the_student_sees_and_says_the_same_from_a_store(file, run, tmp_path):
    batch, said = first_batch(student(file))
    power = np.square(batch["views"]["audio"] / 2.0**15).mean(axis=(1, 2))
    assert power.max() > 1e-5
    embedding = said["targets"]["teacher"]["embedding"]
    np.testing.assert_allclose(embedding, np.stack([power, 2 * power], 1), rtol=1e-5)
    assert said["taught"]["teacher"].all()

    out = tmp_path / "store"
    flags = ("--teacher", file, "--data", DATA, "--out", out, "--dtype", "float32")
    code, printed, _ = run("teach", *flags, "--batch-size", 8)
    assert code == 0
    assert "embedding [2] of 32 windows" in printed
    stored = first_batch(student(file, store=str(out)))[1]
    np.testing.assert_allclose(stored["targets"]["teacher"]["embedding"], embedding, rtol=1e-5)
    # The store knows the function that it is of.
    file.write_text(FILE.replace("2 * power", "3 * power"))
    with pytest.raises(UsageError, match=r"which is not the function of .*loudness.py"):
        first_batch(student(file, store=str(out)))


def test_it_teaches_a_run(file, run, tmp_path):
    words = (
        "--config",
        CONFIG,
        "--workdir",
        tmp_path / "run",
        "--config.objectives.distill.loss=hint",
    )
    named = (f"--config.teachers.teacher.run={file}", "--config.teachers.teacher.encoder=")
    code, printed, _ = run(
        "pretrain",
        *words,
        *named,
        "--config.teachers.teacher.targets=embedding",
        "--config.steps=2",
    )
    assert code == 0
    assert f"teacher 'teacher': the function of {file}, {teacher_of(str(file)).hash}" in printed


@pytest.mark.parametrize(
    ("old", "new", "keys", "said"),
    [
        ("def get_teacher", "def get_techer", {}, "it has no function get_teacher"),
        (
            "return Function(loudness",
            "return dict(says=loudness",
            {},
            "must return .*Function, not",
        ),
        (
            "import jax.numpy",
            "import jacks.numpy",
            {},
            r"loudness.py', line 2: ModuleNotFoundError",
        ),
        ("seconds=0.25", "secnods=0.25", {}, "did you mean 'seconds'"),
        ("seconds=0.25", "seconds=0.5", {}, "was trained on audio: seconds 0.5"),
        ("jnp.square", "jnp.sqare", {}, "line 8: AttributeError"),
        (
            "[power, 2 * power], axis=1",
            "[power, power]",
            {},
            r"says embedding of the shape \[2, 3\] of 3 clips",
        ),
        ('"embedding":', '"embeding":', {}, "says embeding, logits, and is asked for embedding"),
        ("", "", {"encoder": "audio"}, "is a function and has no encoder 'audio'"),
        ("", "", {"targets": ("logits",)}, "says logits of the shape"),
    ],
)
def test_what_is_wrong_is_named(old, new, keys, said, file):
    file.write_text(FILE.replace(old, new))
    config = student(file)
    config.teachers.teacher.update(keys)
    with pytest.raises(UsageError, match=said):
        open_teachers(resolve(config), open_source(DATA))


def test_no_such_file(tmp_path):
    with pytest.raises(UsageError, match=r"there is no teacher's file '.*nowhere.py'"):
        teacher_of(str(tmp_path / "nowhere.py"))


def test_masks_of_spectrograms_are_refused(file):
    config = student(file)
    config.views.audio.time_masks = (1, 0.1)
    with pytest.raises(UsageError, match="hears samples, and the view 'audio' masks spectrograms"):
        open_teachers(resolve(config), open_source(DATA))
