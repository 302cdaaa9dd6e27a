"""Rules of released evaluators: by name, for their protocol, on the pictures that they look at."""

import dataclasses

import jax
import numpy as np
import pytest

from avssl.config import load_config, resolve
from avssl.errors import UsageError
from avssl.evaluate.localization import RELEASED
from avssl.evaluate.released import check_released
from avssl.evaluate.run import Asked, planned
from tests.conftest import TINY_CONFIG

WIDTH = 16


@pytest.mark.parametrize(
    ("name", "protocols", "said"),
    [
        ("ez_vsk", ("localization",), "unknown --released 'ez_vsk'; did you mean 'ez_vsl'"),
        ("lvs", ("knn",), "--released lvs is of the protocol localization: add it"),
        ("mm_distillnet", ("localization",), "is of the protocol detection: add it"),
        ("ez_vsl", ("localization", "knn"), "whole frames.*give --protocols localization alone"),
    ],
)
def test_names_that_fit_no_protocol_are_refused(name, protocols, said):
    with pytest.raises(UsageError, match=said):
        check_released(name, protocols)
    check_released("", protocols)
    check_released("lvs", ("localization", "knn"))


def test_whole_frames_are_looked_at_and_their_boxes_are_whole():
    config = load_config(TINY_CONFIG)
    config.objectives = dict(ez_vsl=dict(weight=1.0, channels=WIDTH))
    config.encoders.video.features = WIDTH
    config.data.num_records = 32
    asked = Asked(protocols=("localization",), released="lvs")
    assert planned(resolve(config), asked).model.without_draws().views["video"].crop == "center"
    measurement = planned(resolve(config), dataclasses.replace(asked, released="ez_vsl"))
    assert measurement.maps.rules == RELEASED["ez_vsl"]
    variables = jax.jit(measurement.whole.init)(jax.random.key(0))
    _, sides = measurement({**variables, "ema": variables["params"]}, "some weights")
    boxes = sides.test.geometry["video"]["box"]
    np.testing.assert_array_equal(boxes, [[0, 0, 1, 1]] * len(boxes))
