"""Depths of parameters: every encoder is known, stage by stage from the top, or refused."""

import re

import jax
import jax.numpy as jnp
import pytest

from avssl.errors import UsageError
from avssl.models.registry import ENCODERS
from avssl.models.stages import STAGES, stage_depths
from avssl.train.mesh import path_name
from tests.models.test_encoders import INPUTS, SAMPLES

DETECTORS = ("small_detector_audio", "small_detector_video")
# From the top.
EXPECTED = {
    "cnn14": ["linear", *(f"block{n}" for n in range(6, 0, -1)), "norm0"],
    "conv2d10": ["conv5x", "conv4x", "conv3x", "conv2x", "stem"],
    "detr_resnet50_video": [
        "norm|classes|box",
        *(f"decoder{n}" for n in range(5, -1, -1)),
        "queries",
        *(f"encoder{n}" for n in range(5, -1, -1)),
        "projection",
        *(f"backbone/layer{n}" for n in range(4, 0, -1)),
        "backbone/(conv1|norm1)",
    ],
    "l3_audio": ["trunk/conv4", "trunk/conv3", "trunk/conv2", "trunk/conv1"],
    "mc3_18": ["layer4", "layer3", "layer2", "layer1", "stem"],
    "r2plus1d18": ["conv5x", "conv4x", "conv3x", "conv2x", "stem"],
    "resnet50_video": ["layer4", "layer3", "layer2", "layer1", "(conv1|norm1)"],
    "small_audio": ["layer4", "layer3", "layer2", "layer1"],
    "small_video": ["layer3", "layer2", "layer1", "stem"],
    "soundnet8": [f"(conv|norm){n}" for n in range(7, 0, -1)],
    "speaker_resnet34": ["linear", "layer4", "layer3", "layer2", "layer1", "(conv1|norm1)"],
    "vit_video": ["norm", *(f"blocks/block{n}/" for n in range(11, -1, -1)), "patches"],
    "vgg16_video": [f"trunk/conv{n}" for n in range(5, 0, -1)],
}


def paths_of(kind, **fields):
    encoder = ENCODERS[kind](**fields)
    x = jax.ShapeDtypeStruct(SAMPLES.get(kind, INPUTS[encoder.modality]), jnp.float32)
    key = jax.eval_shape(lambda: jax.random.key(0))
    made = jax.eval_shape(lambda key, x: encoder.init(key, x, train=False), key, x)
    leaves = jax.tree_util.tree_leaves_with_path(made.get("params", {}))
    return [path_name(path) for path, _ in leaves]


@pytest.mark.parametrize("kind", sorted(ENCODERS.keys() - set(DETECTORS)))
def test_every_parameter_has_a_depth(kind):
    paths = paths_of(kind)
    depths = stage_depths(kind, paths)
    assert list(depths) == paths
    assert set(depths.values()) == set(range(1, len(set(depths.values())) + 1))


@pytest.mark.parametrize("kind", EXPECTED)
def test_stages_from_the_top(kind):
    depths = stage_depths(kind, paths_of(kind))
    for path, depth in depths.items():
        assert re.match(EXPECTED[kind][depth - 1], path), (path, depth)
    assert max(depths.values()) == len(EXPECTED[kind])


def test_more_stages_are_counted_by_number():
    depths = stage_depths("small_audio", [f"layer{n}/conv/kernel" for n in (1, 2, 9, 10, 11)])
    assert list(depths.values()) == [5, 4, 3, 2, 1]
    moving = stage_depths("small_video", paths_of("small_video", temporal_width=8))
    assert {path for path, depth in moving.items() if depth == 1} == {
        path for path in moving if path.startswith("temporal/")
    }


def test_an_unknown_one_is_refused():
    with pytest.raises(UsageError, match="of the encoder 'small_video' its parameter 'extra/bias'"):
        stage_depths("small_video", ["stem/conv/kernel", "extra/bias"])
    for kind in DETECTORS:
        assert kind not in STAGES
        with pytest.raises(UsageError, match=f"of the encoder '{kind}' its parameter"):
            stage_depths(kind, ["backbone/conv1/kernel"])
