"""Encoders are not shown media of another kind than they were trained on."""

import numpy as np
import pytest

from avssl.config import load_config, resolve
from avssl.data.open import open_source
from avssl.errors import UsageError
from avssl.evaluate.measurement import check_media
from avssl.train.build_model import evaluation_model


def checked(config, spec):
    source = open_source(spec)
    model = evaluation_model(resolve(load_config(config)))
    check_media(source, np.arange(len(source)), model)


@pytest.mark.parametrize(
    ("config", "spec", "words"),
    [
        ("configs/world/avsa.py:quicktest", "world:tiny@test", "360-degree|ambisonic"),
        ("configs/world/detect.py:quicktest+depth", "world:tiny@test", "video stream 'depth'"),
    ],
)
def test_what_the_data_cannot_give_is_said(config, spec, words):
    with pytest.raises(UsageError, match=rf"the view '\w+' of this run needs .*({words})"):
        checked(config, spec)


def test_what_they_can_give_is_taken():
    checked("configs/quickstart.py:quicktest", "world:tiny@test")
    checked("configs/world/avsa.py:quicktest", "world:tiny_sphere@test")
    checked("configs/world/detect.py:quicktest+depth", "world:tiny_vehicles@test")
    # Its negatives of other times are of the training alone.
    checked("configs/world/avts.py", "world:tiny@test")
