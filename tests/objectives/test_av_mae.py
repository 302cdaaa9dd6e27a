"""Masked autoencoding: what the decoder is told, what the loss is of, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.errors import UsageError
from avssl.losses.masked_patches import patch_errors
from avssl.models.features import Features, Patches
from avssl.models.masked_autoencoder import MaskedAutoencoder
from avssl.objectives.av_mae import AvMae
from avssl.train.build_model import build_model
from tests.train.small_runs import small_config

ROWS, WIDTH = 3, 8
KEYS = {"fused_depth": 1, "decoder_width": 12, "decoder_depth": 1}
BATCH = {
    "row": jnp.arange(ROWS),
    "present": {"video": jnp.ones(ROWS, bool), "audio": jnp.array([True, True, False])},
}


def split(grid, num_inputs, seed, width=WIDTH):
    generator = np.random.default_rng(seed)
    number = int(np.prod(grid))
    order = np.stack([generator.permutation(number) for _ in range(ROWS)])
    kept = number // 2
    return Patches(
        seen=jnp.asarray(generator.normal(size=(ROWS, kept, width)), jnp.float32),
        places=jnp.asarray(np.sort(order[:, :kept])),
        hidden=jnp.asarray(np.sort(order[:, kept:])),
        inputs=jnp.asarray(generator.normal(size=(ROWS, number, num_inputs)), jnp.float32),
        grid=grid,
    )


PATCHES = {"video": split((2, 2, 2), 6, 0), "audio": split((3, 2), 4, 1)}


def features_of(objective, patches):
    reads = {"video": objective.video_read, "audio": objective.audio_read}
    return {
        read: Features(jnp.zeros((ROWS, WIDTH)), patches=patches[name])
        for name, read in reads.items()
    }


def moved(params):
    """The last layer starts at zero, behind which nothing could be seen."""
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(9), len(leaves))
    pairs = zip(leaves, keys, strict=True)
    some = [leaf + 0.3 * jax.random.normal(key, leaf.shape) for leaf, key in pairs]
    return jax.tree.unflatten(tree, some)


def predictions(patches, **keys):
    network = MaskedAutoencoder(**{**KEYS, **keys})

    @jax.jit
    def told(patches):
        params = network.init(jax.random.key(0), patches, train=False, rows=None)
        return network.apply(moved(params), patches, train=False, rows=None)

    return told(patches)


def test_every_hidden_patch_is_told_from_all_that_was_seen():
    found = predictions(PATCHES)
    assert {name: one.shape for name, one in found.items()} == {
        "video": (ROWS, 4, 6), "audio": (ROWS, 3, 4),
    }  # fmt: skip
    sound = PATCHES["audio"]
    louder = {**PATCHES, "audio": sound.replace(seen=sound.seen.at[0, 0, 0].add(3.0))}
    other = predictions(louder)
    for name in PATCHES:
        change = np.abs(other[name] - found[name]).reshape(ROWS, -1).max(axis=1)
        assert change[0] > 1e-3
        assert not change[1:].any()
    # Without blocks on both, the picture hears nothing.
    alone, deaf = (predictions(some, fused_depth=0)["video"] for some in (PATCHES, louder))
    np.testing.assert_array_equal(alone, deaf)


def test_the_inputs_of_hidden_patches_are_hidden():
    dark = {name: one.replace(inputs=jnp.zeros_like(one.inputs)) for name, one in PATCHES.items()}
    jax.tree.map(np.testing.assert_array_equal, predictions(dark), predictions(PATCHES))


def test_the_order_of_what_was_seen_says_nothing():
    def reversed_order(one):
        return one.replace(seen=one.seen[:, ::-1], places=one.places[:, ::-1])

    found = predictions({name: reversed_order(one) for name, one in PATCHES.items()})
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), found, predictions(PATCHES)
    )


def test_the_places_say_something():
    video = PATCHES["video"]
    elsewhere = {**PATCHES, "video": video.replace(places=video.hidden, hidden=video.places)}
    assert np.abs(predictions(elsewhere)["video"] - predictions(PATCHES)["video"]).max() > 1e-3


def test_the_loss_is_of_the_hidden_patches_of_whole_clips():
    objective = AvMae(**KEYS, video_weight=0.3, audio_weight=0.7)
    features = features_of(objective, PATCHES)
    params = moved(objective.init(jax.random.key(0), features, BATCH, method="initialise"))
    outputs = objective.apply(params, features, BATCH, train=True, method="heads")
    outcome = objective.apply(params, outputs, BATCH, train=True)
    told = MaskedAutoencoder(**KEYS).apply(
        {"params": params["params"]["autoencoder"]}, PATCHES, train=True, rows=BATCH["row"]
    )
    expected = 0.0
    for name, weight in (("video", 0.3), ("audio", 0.7)):
        one = PATCHES[name]
        inputs = jnp.stack([one.inputs[row][one.hidden[row]] for row in range(ROWS)])
        expected += weight * patch_errors(told[name], inputs)[:2].mean()
    np.testing.assert_allclose(outcome.loss, expected, rtol=1e-5)


@pytest.mark.parametrize("standardise", [False, True])
def test_what_is_told_at_first_is_zero(standardise):
    objective = AvMae(**KEYS, standardise_patches=standardise)
    features = features_of(objective, PATCHES)
    params = objective.init(jax.random.key(0), features, BATCH, method="initialise")
    outputs = objective.apply(params, features, BATCH, train=True, method="heads")
    hidden = jnp.take_along_axis(
        PATCHES["video"].inputs, PATCHES["video"].hidden[:, :, None], axis=1
    )
    expected = patch_errors(jnp.zeros_like(hidden), hidden, standardise=standardise)
    np.testing.assert_allclose(outputs["video_error"], expected, rtol=1e-6)


def test_bf16_encoders_have_a_bf16_decoder():
    narrow = {
        name: one.replace(seen=one.seen.astype(jnp.bfloat16)) for name, one in PATCHES.items()
    }
    found = predictions(narrow)
    assert all(one.dtype == jnp.bfloat16 for one in found.values())


@pytest.mark.parametrize(
    ("patches", "words"),
    [
        ({**PATCHES, "audio": None}, "encoders.audio has none: set its name to vit_video"),
        (
            {**PATCHES, "video": split((2, 2, 2), 6, 0, width=16)},
            "one width, not 16 of video, 8 of audio",
        ),
        (
            {
                **PATCHES,
                "audio": PATCHES["audio"].replace(hidden=jnp.zeros((ROWS, 0), jnp.int32)),
            },
            "encoders.audio sees all of them: set its patch_drop",
        ),
        (
            {**PATCHES, "video": PATCHES["video"].replace(seen=jnp.zeros((ROWS, 2, 4, WIDTH)))},
            "set views.video.windows=1",
        ),
    ],
)
def test_what_cannot_be_is_said(patches, words):
    objective = AvMae(**KEYS)
    with pytest.raises(UsageError, match=words):
        objective.init(
            jax.random.key(0), features_of(objective, patches), BATCH, train=True, method="heads"
        )


def test_both_encoders_learn():
    config = small_config("av_mae", precision="float32")
    model = build_model(config)
    variables = model.init(jax.random.key(0))
    batch = model.example_batch(4)

    def loss(params):
        current = {**variables, "params": params}
        outputs, _ = model.encode(current, batch, jax.random.key(1), train=True)
        return model.loss(current, outputs, batch, jax.random.key(1), train=True)[0]

    gradient_of = jax.jit(jax.grad(loss))
    # The last layer is at zero, and lets through nothing before it has moved.
    first = gradient_of(variables["params"])
    params = jax.tree.map(lambda p, g: p - 0.1 * g, variables["params"], first)
    gradient = gradient_of(params)
    for name in ("tubelets", "patches"):
        assert any(np.any(leaf) for leaf in jax.tree.leaves(gradient["encoders"][name]))
