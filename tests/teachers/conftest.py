"""A run folder that can teach: encoders and classifiers at initialisation, saved as a run saves them."""

from pathlib import Path

import jax
import pytest

from avssl.config import ConfigDict, load_config, resolve, to_json
from avssl.data.open import open_source
from avssl.train.build_model import build_model
from avssl.train.checkpoint import Checkpoints
from avssl.train.run import build_setup, fresh_state, metadata, with_num_records
from avssl.train.runlog import write_config
from tests.teachers.stores import GRID_SECONDS, written

TINY = Path(__file__).parents[1] / "train" / "tiny_config.py"


def make_run(folder: Path, seed: int = 0, ema: float = 0.0, **names) -> Path:
    config = load_config(str(TINY))
    config.seed = seed
    config.ema.decay = ema
    config.objectives = dict(supervised=dict(weight=1.0, num_classes=4))
    return saved_run(folder, config, **names)


def saved_run(folder: Path, config: ConfigDict, **names) -> Path:
    source = open_source(config.data.source)
    config = with_num_records(resolve(config), source)
    state = fresh_state(build_setup(config, build_model(config), jax.devices()[:1]))
    folder.mkdir()
    write_config(folder, to_json(config))
    with Checkpoints(folder / "checkpoints", keep=1) as checkpoints:
        checkpoints.save(1, state.items(), {**metadata(config, source, 1), **names})
        checkpoints.wait()
    return folder


@pytest.fixture(scope="session")
def teacher_run(tmp_path_factory) -> Path:
    return make_run(tmp_path_factory.mktemp("teacher") / "run")


@pytest.fixture(scope="session")
def other_run(tmp_path_factory) -> Path:
    """Other weights, and other names for the classes."""
    folder = tmp_path_factory.mktemp("other") / "run"
    return make_run(folder, seed=1, label_names=["a", "b", "c", "d"])


@pytest.fixture(scope="module")
def store(teacher_run, tmp_path_factory):
    """Of the middle of each record."""
    out = tmp_path_factory.mktemp("store") / "middle"
    return written(teacher_run, out, "audio", ("embedding", "logits"))


@pytest.fixture(scope="module")
def grid(teacher_run, tmp_path_factory):
    """Pictures' maps in windows that overlap."""
    out = tmp_path_factory.mktemp("store") / "grid"
    return written(teacher_run, out, "video", ("map", "embedding"), every_seconds=GRID_SECONDS)
