"""DMC: which map belongs to which sound, the scores behind retrieval, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.errors import UsageError
from avssl.models.features import Features
from avssl.objectives.dmc import Dmc
from avssl.train.build_model import build_model
from tests.train.small_runs import small_config

BATCH, FRAMES, HEIGHT, WIDTH, CHANNELS = 4, 2, 3, 5, 6
PROJECTED = {"num_clusters": 3, "width": 4}
SIMPLIFIED = {
    "form": "simplified", "video_clusters": 3, "audio_clusters": 2, "channels": CHANNELS,
}  # fmt: skip
FORMS = pytest.mark.parametrize("keys", [PROJECTED, SIMPLIFIED], ids=["projected", "simplified"])


def example_features(objective: Dmc, video_map, audio_map):
    embedding = jnp.zeros((len(video_map), 1))
    return {
        objective.video_read: Features(embedding, video_map),
        objective.audio_read: Features(embedding, audio_map),
    }


def random_maps(audio_channels: int = CHANNELS):
    generator = np.random.default_rng(0)
    video = generator.standard_normal((BATCH, FRAMES, HEIGHT, WIDTH, CHANNELS))
    audio = generator.standard_normal((BATCH, 4, 2, audio_channels))
    return jnp.asarray(video, jnp.float32), jnp.asarray(audio, jnp.float32)


def batch_of(index, present=True):
    there = jnp.full(len(index), present)
    return {"index": jnp.asarray(index), "present": {"video": there, "audio": there}}


def started(keys, maps):
    """The objective, its features and its parameters."""
    objective = Dmc(**keys)
    features = example_features(objective, *maps)

    @jax.jit
    def made(key):
        rngs = {"params": key, "draw": key}
        return objective.init(rngs, features, batch_of(range(BATCH)), method="initialise")

    return objective, features, made(jax.random.key(0))


def heads(objective, features, made, *, train=False):
    @jax.jit
    def compiled(made):
        return objective.apply(made, features, batch_of(range(BATCH)), train=train, method="heads")

    return compiled(made)


@FORMS
def test_maps_are_given_in_evaluation_alone(keys):
    objective, features, made = started(keys, random_maps())
    in_training = {"video", "audio", "video_entropy", "audio_entropy"}
    assert set(heads(objective, features, made, train=True)) == in_training
    outputs = heads(objective, features, made)
    num_maps = 3 if objective.projected else 2
    assert outputs["video_map"].shape == (BATCH, HEIGHT, WIDTH)
    assert outputs["video_maps"].shape == (BATCH, num_maps, HEIGHT, WIDTH)
    assert np.all((outputs["video_maps"] >= 0) & (outputs["video_maps"] <= 1))


def test_the_shared_clusters_divide_the_picture():
    objective, features, made = started(PROJECTED, random_maps())
    maps = heads(objective, features, made)["video_maps"]
    np.testing.assert_allclose(maps.sum(axis=1), 1.0, rtol=1e-5)


def test_a_sound_finds_its_object():
    """Three kinds of positions; each sound has two of them, and its maps show where those are."""
    kinds = jnp.eye(CHANNELS)[:3]
    # Raster order: the first centers come from the first, the sixth and the eleventh position.
    layout = jnp.array([[0, 0, 0, 0, 0], [1, 1, 1, 1, 1], [2, 2, 2, 2, 2]])
    video = jnp.broadcast_to(kinds[layout], (BATCH, FRAMES, HEIGHT, WIDTH, CHANNELS))
    heard = jnp.array([[0, 1], [1, 2], [2, 0], [1, 0]])
    audio = jnp.repeat(kinds[heard], 2, axis=1)[:, :, None]
    objective, features, made = started(SIMPLIFIED, (video, audio))
    same = {"kernel": jnp.eye(CHANNELS), "bias": jnp.zeros(CHANNELS)}
    made = {"params": {"video_layer": same, "audio_layer": same}}
    outputs = heads(objective, features, made)
    truth = heard[:, :, None, None] == layout[None, None]
    np.testing.assert_allclose(outputs["video_maps"], truth, atol=1e-4)
    np.testing.assert_allclose(outputs["video_map"], truth.any(axis=1), atol=1e-4)


@FORMS
def test_similarity_is_the_score_of_each_pair(keys):
    objective, features, made = started(keys, random_maps())
    outputs = heads(objective, features, made)
    pair = outputs["video"], outputs["audio"]
    table = objective.apply(made, *pair, method="similarity")
    own = objective.apply(made, *pair, method="row_similarity")
    np.testing.assert_allclose(jnp.diagonal(table), own, rtol=1e-5)
    turned = objective.apply(made, pair[0], jnp.roll(pair[1], -1, axis=0), method="row_similarity")
    np.testing.assert_allclose(table[0, 1], turned[0], rtol=1e-5)
    assert np.ptp(np.asarray(table)) > 1e-3


@pytest.mark.parametrize("norm_maps", [False, True])
def test_what_all_positions_share_does_not_count_in_normalised_maps(norm_maps):
    keys = {**PROJECTED, "norm_maps": norm_maps}
    maps = random_maps()
    objective, _, made = started(keys, maps)

    @jax.jit
    def centers(video_map, audio_map):
        features = example_features(objective, video_map, audio_map)
        keys = {"train": True, "method": "heads", "mutable": "batch_stats"}
        return objective.apply(made, features, batch_of(range(BATCH)), **keys)[0]["video"]

    shifted = centers(*(feature_map + 3.0 for feature_map in maps))
    assert np.allclose(centers(*maps), shifted, atol=1e-4) == norm_maps


def test_sharper_routings_decide():
    """And the metrics say so, of the rows that are there."""
    objective, features, made = started(PROJECTED, random_maps())
    undecided = []
    for sharpness in (None, 300.0):
        one = objective.clone(routing_sharpness=sharpness)
        outputs = heads(one, features, made, train=True)
        batch = batch_of(range(BATCH))
        batch["present"]["audio"] = jnp.arange(BATCH) < 2
        outcome = one.apply(made, outputs, batch, train=True, rngs={"draw": jax.random.key(0)})
        for name in ("video", "audio"):
            entropy = outcome.metrics[f"{name}_assignment_entropy"]
            np.testing.assert_allclose(entropy, outputs[f"{name}_entropy"][:2].mean(), rtol=1e-6)
            undecided.append(float(entropy))
    video, audio, sharp_video, sharp_audio = undecided
    assert min(video, audio) > 0.9
    assert max(sharp_video, sharp_audio) < 0.3


@FORMS
@pytest.mark.parametrize("case", ["one record", "nothing present", "equal features"])
def test_batches_without_negatives_are_finite(keys, case):
    maps = random_maps()
    if case == "equal features":
        maps = tuple(jnp.ones_like(each) for each in maps)
    objective, features, made = started(keys, maps)
    batch = batch_of([7] * BATCH, case != "nothing present")

    def loss(params):
        variables = {**made, "params": params}
        outputs = objective.apply(variables, features, batch, train=True, method="heads")
        rngs = {"draw": jax.random.key(1)}
        return objective.apply(variables, outputs, batch, train=True, rngs=rngs).loss

    value, gradient = jax.jit(jax.value_and_grad(loss))(made["params"])
    assert np.isfinite(value)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradient))
    if case == "nothing present" or objective.projected:
        assert value == 0.0


def test_all_negatives():
    """Every sound of another record counts, as often as it is there."""
    video, audio = (jnp.concatenate([each[:2]] * 2) for each in random_maps())
    objective, features, made = started(PROJECTED, (video, audio))
    outputs = heads(objective, features, made, train=True)
    batch = batch_of([0, 1, 0, 1])
    rngs = {"draw": jax.random.key(0)}
    scores = objective.apply(made, outputs["video"], outputs["audio"], method="similarity")
    wrong = np.array([scores[0, 1], scores[1, 0]])
    expected = np.mean(np.maximum(3 + wrong - np.diagonal(scores)[:2], 0))
    every = objective.clone(all_negatives=True)
    outcome = every.apply(made, outputs, batch, train=True, rngs=rngs)
    np.testing.assert_allclose(outcome.loss, expected, rtol=1e-5)
    assert outcome.metrics["num_pairs"] == 8


def test_all_negatives_of_the_simplified_form():
    """Those of a batch together weigh as much as its right pairs."""
    objective, features, made = started({**SIMPLIFIED, "all_negatives": True}, random_maps())
    outputs = heads(objective, features, made, train=True)
    pair = outputs["video"], outputs["audio"]
    batch, rngs = batch_of([0, 1, 2, 2]), {"draw": jax.random.key(0)}
    loss = objective.apply(made, outputs, batch, train=True, rngs=rngs).loss
    distance = -np.asarray(objective.apply(made, *pair, method="similarity"))
    others = np.array([[i != j and {i, j} != {2, 3} for j in range(4)] for i in range(4)])
    right = np.mean(np.diagonal(distance) ** 2)
    wrong = np.mean(np.maximum(1.0 - distance[others], 0.0) ** 2)
    np.testing.assert_allclose(loss, (right + wrong) / 4, rtol=1e-5)


def test_refuses_maps_it_cannot_cluster():
    with pytest.raises(UsageError, match=r"objectives\.dmc\.form=simplified"):
        started(PROJECTED, random_maps(audio_channels=4))
    video, _ = random_maps()
    with pytest.raises(UsageError, match="needs the map of the encoder 'audio'"):
        started(PROJECTED, (video, None))


def test_refuses_an_unknown_form():
    config = small_config("dmc", precision="float32")
    config.objectives.dmc.form = "simplifed"
    with pytest.raises(UsageError, match="did you mean 'simplified'"):
        build_model(config)


def test_refuses_to_normalise_maps_that_the_simplified_form_does_not():
    config = small_config("dmc", precision="float32")
    config.objectives.dmc.update(form="simplified", norm_maps=True)
    with pytest.raises(UsageError, match=r"dmc\.norm_maps is of form=projected"):
        build_model(config)


@pytest.mark.parametrize(
    ("key", "words"),
    [("num_iterations", "must be at least 1"), ("routing_sharpness", "must be more than 0")],
)
def test_refuses_to_do_nothing(key, words):
    config = small_config("dmc", precision="float32")
    config.objectives.dmc[key] = 0
    with pytest.raises(UsageError, match=f"{key} {words}"):
        build_model(config)
