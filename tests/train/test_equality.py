"""Every objective gives the same losses and parameters on any devices, in any mode, in micro-batches."""

import jax
import numpy as np
import pytest

from avssl.errors import UsageError
from avssl.objectives import OBJECTIVES, objective_defaults
from avssl.train.build_model import build_model
from tests.train.small_runs import (
    DETECTING,
    TAUGHT,
    batches,
    furthest,
    small_config,
    start_on_host,
    train,
)

# Banks hold what three steps before wrote, and averages what all of them did.
NUM_STEPS = 8
# Every objective, in two runs: of all gradients together, the largest would hide the others.
TOGETHER = {
    "untaught": tuple(name for name in OBJECTIVES if name not in TAUGHT | DETECTING),
    "taught": tuple(name for name in OBJECTIVES if name in TAUGHT | DETECTING),
}
# What the objectives are by other keys than their defaults, where that is other mathematics.
OTHER_FORMS = {
    "avid": {"within": 1.0},
    "cma": {
        "agreement": "union",
        "within_instance": 1.0,
        "cross_positives": 1.0,
        "num_positives": 4,
    },
    "desa": {"form": "codebook", "labels_at_step": 0},
    "dmc": {"form": "simplified", "channels": 16},
    "robust_xid": {"estimator": "neighbour", "queue_rows": 32},
    "selavi": {"online": True, "queue_rows": 32, "marginals": "gaussian"},
    "xdc": {"variant": "cdc"},
}
ONE = {"one device": {"devices": 1}}
FSDP = {"fsdp of 4": {"devices": 8, "parallel.fsdp": 4}}
PMAP = {"pmap of 8": {"devices": 8, "parallel.mode": "pmap"}}
MESH = {"mesh of 8": {"devices": 8}}
PLACES = {**ONE, **MESH, **FSDP, **PMAP}
MICRO_BATCHES = {
    "two micro-batches on 8": {"devices": 8, "optimizer.accumulate": 2},
    "two micro-batches, pmap of 4": {
        "devices": 4, "optimizer.accumulate": 2, "parallel.mode": "pmap",
    },
}  # fmt: skip


def settled_at(config, place):
    """(the config, the number of devices) of a place."""
    config = config.copy_and_resolve_references()
    settings = dict(place)
    num_devices = settings.pop("devices")
    config.update_from_flattened_dict(settings)
    return config, num_devices


def train_at(config, place, data, start):
    config, num_devices = settled_at(config, place)
    return train(config, data, num_devices, start)


def assert_same(config, data, places):
    """Losses and everything that the state holds, to 1e-9, between the first place and the others."""
    (_, first), *others = places.items()
    start = start_on_host(config)
    losses, state = train_at(config, first, data, start)
    assert np.all(np.isfinite(losses))
    assert losses.std() > 1e-4, "the runs must move, or their equality says nothing"
    for name, place in others:
        other_losses, other_state = train_at(config, place, data, start)
        assert np.max(np.abs(losses - other_losses)) < 1e-9, name
        for item in ("params", "batch_stats", "memory"):
            assert furthest(getattr(state, item), getattr(other_state, item)) < 1e-9, (name, item)


def test_same_start_everywhere(float64):
    config = small_config("avid", "xid")
    first, *others = (start_on_host(*settled_at(config, place)) for place in PLACES.values())
    for other in others:
        assert furthest(first, other) < 1e-12


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("objectives", TOGETHER.values(), ids=TOGETHER)
def test_same_losses_and_parameters_everywhere(objectives, float64):
    """Several objectives in one run: each one's parameters and memory are compared by themselves."""
    config = small_config(*objectives)
    # The gradients of all of them add up; at the rate for one, rounding doubles with each step.
    config.optimizer.learning_rate = 1e-4
    assert_same(config, batches(config, NUM_STEPS), PLACES)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_other_forms_are_the_same_on_several_devices(float64):
    config = small_config(*OTHER_FORMS)
    for name, form in OTHER_FORMS.items():
        config.objectives[name].update(form)
    config.optimizer.learning_rate = 1e-4
    assert_same(config, batches(config, NUM_STEPS), {**ONE, **FSDP, **PMAP})


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("objectives", TOGETHER.values(), ids=TOGETHER)
def test_micro_batches_give_the_gradient_of_the_whole_batch(objectives, float64):
    """Without BatchNorm, also in heads: with it the statistics are those of each micro-batch."""
    config = small_config(*objectives, batch_norm=False)
    made = jax.eval_shape(build_model(config).init, jax.random.key(0))
    for name, statistics in made["batch_stats"]["objectives"].items():
        if statistics:
            config.objectives[name].weight = 0.0
    # Nothing keeps the features small, and the losses of all objectives add up.
    config.optimizer.learning_rate = 1e-5
    assert_same(config, batches(config, NUM_STEPS), {**ONE, **MICRO_BATCHES})


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_blocks_change_no_loss_and_no_gradient(float64):
    """Of every objective that has them, where it compares all clips of a batch with all others."""
    names = [name for name in OBJECTIVES if "blocks" in objective_defaults(name)]
    config = small_config(*names)
    for name in names:
        if "all_negatives" in objective_defaults(name):
            config.objectives[name].all_negatives = True
    config.objectives.distill.loss = "rkd"
    config.optimizer.learning_rate = 1e-4
    blocks = {f"objectives.{name}.blocks": 4 for name in names}
    places = {**ONE, "in blocks": {"devices": 1, **blocks}, "and on 8": {"devices": 8, **blocks}}
    assert_same(config, batches(config, 5), places)


@pytest.mark.parametrize("blocks", [0, 3])
def test_blocks_divide_the_batch(blocks):
    config = small_config("robust_xid", precision="float32")
    config.objectives.robust_xid.blocks = blocks
    with pytest.raises(UsageError, match=f"robust_xid.blocks is a divisor .* 16, not {blocks}"):
        train(config, batches(config, 1), 1)


def test_micro_batches_with_batch_norm_do_not_depend_on_the_devices(float64):
    config = small_config("xid")
    assert_same(config, batches(config, NUM_STEPS), MICRO_BATCHES)


@pytest.mark.parametrize(
    ("objectives", "places"),
    [
        pytest.param(("avid", "xid"), PLACES, id="two"),
        # The other places are compared in float64 above, where no rounding hides anything.
        *(
            pytest.param(names, {**ONE, **MESH}, id=name, marks=pytest.mark.slow)
            for name, names in TOGETHER.items()
        ),
    ],
)
@pytest.mark.timeout(1500)
def test_first_gradient_in_float32(objectives, places):
    """With SGD at rate 1 the parameters move by the gradient."""
    config = small_config(*objectives, precision="float32")
    config.optimizer.learning_rate = 1.0
    data = batches(config, 1)
    start = start_on_host(config)
    vectors = {}
    for name, place in places.items():
        after = train_at(config, place, data, start)[1].params
        moved = jax.tree.map(lambda a, b: np.ravel(a - b), start.params, after)
        vectors[name] = np.concatenate(jax.tree.leaves(moved))
    reference = vectors.pop("one device")
    assert np.linalg.norm(reference) > 0
    for name, vector in vectors.items():
        gap = np.linalg.norm(vector - reference) / np.linalg.norm(reference)
        assert gap < 2e-5, (name, gap)


def test_plain_accumulation_would_be_another_loss(float64):
    """The guard of the tests above: halves of the batch on their own give another gradient."""
    config = small_config("xid", batch_norm=False)
    data = batches(config, 1)
    whole = train(config, data, 1)[0][0]
    half = small_config("xid", batch_norm=False)
    half.batch_size = config.batch_size // 2
    parts = [
        train(half, [jax.tree.map(lambda leaf, rows=rows: leaf[rows], data[0])], 1)[0][0]
        for rows in (slice(0, None, 2), slice(1, None, 2))
    ]
    assert abs(np.mean(parts) - whole) > 1e-2
