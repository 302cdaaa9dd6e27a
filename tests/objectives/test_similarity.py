"""How retrieval ranks: the same on every platform, so no score is rounded on the way."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import pytest
from jax.extend.core import jaxprs_in_params

from avssl.objectives import OBJECTIVES
from avssl.train.build_model import build_model
from tests.train.small_runs import DETECTING, TAUGHT, small_config

HIGHEST = (jax.lax.Precision.HIGHEST, jax.lax.Precision.HIGHEST)


def products(jaxpr: Any) -> Iterator[Any]:
    """The matrix products of a program and of those that it calls."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            yield equation
        for inner in jaxprs_in_params(equation.params):
            yield from products(inner)


@pytest.mark.parametrize("taught", [False, True])
def test_no_score_is_rounded_as_accelerators_would(taught):
    names = [name for name in OBJECTIVES if (name in TAUGHT | DETECTING) == taught]
    config = small_config(*names, precision="float32")
    if not taught:
        config.objectives.avts.normalise = True  # distances are no products
    model = build_model(config)
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0)))
    variables = {**variables, "ema": variables["params"]}
    outputs = jax.eval_shape(
        lambda kept: model.encode(kept, model.example_batch(3), jax.random.key(0), train=False)[0],
        variables,
    )
    ranking = [name for name in names if {"video", "audio"} <= outputs[name].keys()]
    assert len(ranking) >= (1 if taught else 10)
    rounded = []
    for name in ranking:
        scores = partial(model.objectives[name].apply, method="similarity")
        own = {
            "params": variables["params"]["objectives"][name],
            "memory": variables["memory"][name],
        }
        program = jax.make_jaxpr(scores)(own, outputs[name]["video"], outputs[name]["audio"])
        found = list(products(program.jaxpr))
        assert found, name
        rounded += [name for one in found if one.params["precision"] != HIGHEST]
    assert not rounded
