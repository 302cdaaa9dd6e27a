"""DETR against another implementation of it, and what its map is made of.

`detr.npz` holds what `DetrForObjectDetection` of transformers 5.24 (torch 2.13, float64, eager attention, with
its own `ResNetBackbone`) gives for the small network and the pictures of this file. Weights are drawn by
`official_weight` for each key of the official checkpoint; query, key and value, which it keeps apart, are
thirds of `in_proj`. `states` is `last_hidden_state`, `memory` `encoder_last_hidden_state`, and `attention` the
mean over heads of the last of `cross_attentions`.
"""

import zlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from avssl.errors import UsageError
from avssl.losses.teacher_hints import object_response
from avssl.models.detr import Detections, DetrResNet50Video, object_map
from avssl.models.torch_names import LAYOUTS, detr, from_torch

SMALL = {
    "widths": (4, 6, 8, 10), "blocks": (2, 1, 1, 1), "transformer_width": 32, "hidden": 48, "num_heads": 4,
    "encoder_depth": 2, "decoder_depth": 2, "num_queries": 12, "num_classes": 5,
}  # fmt: skip
TABLE = detr(SMALL["blocks"], encoder_depth=2, decoder_depth=2)


def official_weight(key, shape):
    z = np.random.RandomState(zlib.crc32(key.encode()) & 0x7FFFFFFF).standard_normal(shape)
    if key == "query_embed.weight":
        return z
    if len(shape) > 1:
        return z * (2 if "in_proj" in key else 1) * np.sqrt(2 / np.prod(shape[1:]))
    if key.endswith("running_var"):
        return 1 + 0.1 * np.abs(z)
    if key.endswith("running_mean"):
        return 0.1 * z
    return 1 + 0.1 * z if key.endswith("weight") else 0.05 * z


def pictures(dtype):
    """Two, wider than high."""
    drawn = np.random.RandomState(100).standard_normal((2, 3, 96, 128))
    return jnp.asarray(np.moveaxis(drawn, 1, -1), dtype)


def official(dtype, **fields):
    """The small network with its weights."""
    encoder = DetrResNet50Video(**{**SMALL, **fields}, dtype=dtype)
    x = jax.ShapeDtypeStruct((1, 64, 64, 3), dtype)
    made = jax.eval_shape(lambda x: encoder.init(jax.random.key(0), x, train=False), x)
    shapes = {path: leaf.shape for path, leaf in flatten_dict(made).items()}
    state = {}
    for key, path, layout, _ in TABLE:
        shape = tuple(shapes[path][axis] for axis in np.argsort(LAYOUTS[layout]))
        state[key] = official_weight(key, shape).astype(dtype)
    return encoder, from_torch(TABLE, state)


@pytest.fixture(scope="module")
def golden():
    with np.load(Path(__file__).with_name("detr.npz")) as file:
        return {name: file[name] for name in file.files}


@pytest.mark.usefixtures("float64")
def test_it_is_detr(golden):
    """The same to what float32 keeps of it, from the positions of rows and columns to the last head."""
    encoder, variables = official(jnp.float64)
    found = jax.jit(lambda v, x: encoder.apply(v, x, method="detect"))(
        variables, pictures(jnp.float64)
    )
    assert sorted(entry.key for entry in TABLE) == golden["state_keys"].tolist()
    for name in ("states", "logits", "boxes", "attention"):
        np.testing.assert_allclose(getattr(found, name), golden[name], atol=5e-7, err_msg=name)
    np.testing.assert_allclose(found.taps["memory"], golden["memory"], atol=5e-7)
    np.testing.assert_allclose(found.attention.sum(axis=(2, 3)), 1.0)


# How many queries of each picture are surer.
@pytest.mark.parametrize(
    ("threshold", "numbers"), [(0.5, (0, 12)), (0.4735, (4, 12)), (0.5105, (0, 4))]
)
def test_the_map_is_the_mean_attention_of_sure_queries(threshold, numbers, golden):
    encoder, variables = official(jnp.float32, threshold=threshold)
    x = pictures(jnp.float32)
    features = jax.jit(lambda v, x: encoder.apply(v, x, train=False))(variables, x[:, None])
    assert features.map.shape == (2, 1, 3, 4, 1)
    odds = np.exp(golden["logits"].astype(np.float64))
    sure = (odds[..., :-1] / odds.sum(axis=-1, keepdims=True)).max(axis=-1) > threshold
    assert tuple(sure.sum(axis=1)) == numbers
    for seen, attention, chosen in zip(features.map, golden["attention"], sure, strict=True):
        expected = attention[chosen].mean(axis=0) if chosen.any() else np.zeros((3, 4))
        np.testing.assert_allclose(seen[0, ..., 0], expected, atol=1e-5)
    np.testing.assert_array_equal(object_response(features.map)[1], np.array(numbers) > 0)
    np.testing.assert_allclose(features.embedding, golden["states"].mean(axis=1), atol=1e-5)


def test_to_be_sure_of_no_object_is_to_find_nothing():
    logits = jnp.log(jnp.array([[[0.05, 0.05, 0.9], [0.6, 0.3, 0.1], [0.8, 0.1, 0.1]]]))
    attention = jnp.arange(12.0).reshape(1, 3, 2, 2)
    found = Detections(jnp.zeros((1, 3, 4)), logits, jnp.zeros((1, 3, 4)), attention, {})
    np.testing.assert_array_equal(object_map(found, 0.7)[0, ..., 0], attention[0, 2])
    np.testing.assert_allclose(object_map(found, 0.5)[0, ..., 0], attention[0, 1:].mean(axis=0))
    assert not np.any(object_map(found, 0.95))


def test_frames_are_seen_by_themselves_and_running_statistics_stay():
    encoder, variables = official(jnp.float32, threshold=0.0)
    x = pictures(jnp.float32)
    apply = jax.jit(lambda v, x: encoder.apply(v, x, train=True, mutable=["batch_stats"]))
    both, changed = apply(variables, x[None])
    assert both.map.shape == (1, 2, 3, 4, 1)
    jax.tree.map(np.testing.assert_array_equal, changed["batch_stats"], variables["batch_stats"])
    each, _ = apply(variables, x[:, None])
    np.testing.assert_allclose(both.map[0], each.map[:, 0], atol=1e-6)
    np.testing.assert_allclose(both.embedding[0], each.embedding.mean(axis=0), atol=1e-5)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"threshold": 1.0}, "from 0 to below 1, not 1.0"),
        ({"decoder_depth": 0}, "decoder_depth must be at least 1"),
        ({"num_heads": 3}, "width 32 cannot be split into 3 heads"),
        ({"transformer_width": 30, "num_heads": 2}, "30 is no multiple of 4"),
    ],
)
def test_what_it_cannot_be_is_refused(fields, said):
    encoder = DetrResNet50Video(**{**SMALL, **fields})
    x = jax.ShapeDtypeStruct((1, 1, 64, 64, 3), jnp.float32)
    with pytest.raises(UsageError, match=said):
        jax.eval_shape(lambda x: encoder.init(jax.random.key(0), x, train=False), x)
