"""What a run takes from another one whose heads or encoders have other shapes."""

from pathlib import Path

import jax
import numpy as np
import pytest

from avssl.config import resolve
from avssl.errors import UsageError
from avssl.train.build_model import build_model
from avssl.train.run import build_setup, fresh_state
from avssl.train.start import continued, graft, items_of_start
from tests.train.small_runs import small_config


def state_of(num_classes, seed=0, **encoder):
    config = small_config("classify", "xid", precision="float32")
    config.objectives.classify.num_classes = num_classes
    config.encoders.video.update(encoder)
    config.seed = seed
    config = resolve(config)
    return fresh_state(build_setup(config, build_model(config), jax.devices()[:1]))


def items_of(state):
    return jax.device_get({"params": state.params, "batch_stats": state.batch_stats})


def test_heads_for_other_classes_begin_anew_and_all_else_is_taken():
    theirs, fresh = items_of(state_of(4, seed=1)), state_of(6)
    before = items_of(fresh)
    state, said = graft(fresh, theirs, "runs/other")
    after = items_of(state)
    assert "left at random: params/objectives/classify" in said
    own = ("params", "objectives", "classify")
    for path, leaf in jax.tree_util.tree_leaves_with_path(after):
        names = tuple(key.key for key in path)
        source = before if names[:3] == own else theirs
        for name in names:
            source = source[name]
        np.testing.assert_array_equal(leaf, source)


def test_equal_heads_are_taken():
    theirs = items_of(state_of(4, seed=1))
    state, said = graft(state_of(4), theirs, "runs/other")
    assert "left at random" not in said
    for one, other in zip(jax.tree.leaves(theirs), jax.tree.leaves(items_of(state)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_encoder_of_another_shape_is_refused():
    theirs = items_of(state_of(4, features=12))
    with pytest.raises(
        UsageError, match=r"init_from 'runs/other': params/encoders/video/.* use the same"
    ):
        graft(state_of(4), theirs, "runs/other")


@pytest.mark.parametrize("source", ["xid", "robust_xid"])
def test_robust_xid_goes_on_from_heads_that_have_no_memory(source):
    """Also of a run on other data, and in its averaged parameters."""

    def setup_of(name, seed):
        config = small_config(name, precision="float32")
        config.objectives[name].norm_heads = True
        config.seed = seed
        return build_setup(resolve(config), build_model(config), jax.devices()[:1])

    theirs = fresh_state(setup_of(source, 1))
    setup = setup_of("robust_xid", 0)
    objectives = setup.model.objectives
    assert items_of_start(objectives) == ("params", "batch_stats")
    given = jax.tree.map(lambda leaf: leaf + 1, items_of(theirs))
    expected = {item: given[item]["objectives"][source] for item in given}
    where = Path("there")
    state, said = graft(fresh_state(setup), continued(given, objectives, "b", where), where)
    assert "left at random" not in said
    for item in ("params", "batch_stats"):
        own = getattr(state, item)["objectives"]["robust_xid"]
        jax.tree.map(np.testing.assert_array_equal, own, expected[item])
    averaged = state.ema["objectives"]["robust_xid"]
    jax.tree.map(np.testing.assert_array_equal, averaged, expected["params"])
