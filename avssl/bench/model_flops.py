"""The arithmetic that a training step cannot do without: what its use of a chip is measured by.

A compiled step also computes anew what it did not keep. Here its products are counted before anything is
compiled, of the same step where everything is kept.
"""

import math
from collections.abc import Iterator
from typing import Any

import jax
from jax.interpreters.partial_eval import dce_jaxpr

from avssl.config import ConfigDict, from_json
from avssl.plan.flops import meetings
from avssl.teachers.open import Teachers
from avssl.train.build_model import build_model
from avssl.train.run import build_setup

# What keeps less for the gradient, by the section of the config, and what it is where all is kept.
KEPT = {
    "encoders": {"remat": "none", "scan": False, "flash": False},
    "objectives": {"blocks": 1},
}


def model_flops(config: ConfigDict, teachers: Teachers) -> float:
    """Of the matrix products and convolutions of a step, on all devices together."""
    config = keeping_all(config)
    model = build_model(config)
    setup = build_setup(config, model, jax.devices()[:1], teachers=teachers)
    batch = jax.eval_shape(lambda: model.example_batch(config.batch_size))
    return product_flops(setup.step.run.trace(setup.abstract, teachers.variables, batch).jaxpr)


def keeping_all(config: ConfigDict) -> ConfigDict:
    config = from_json(config.to_dict())
    for section, kept in KEPT.items():
        for part in config[section].values():
            part.update({key: value for key, value in kept.items() if part.get(key)})
    config.optimizer.accumulate = 1
    config.parallel.update(mode="mesh", fsdp=1)
    return config


def product_flops(jaxpr: Any) -> float:
    """Loops as often as they run; those that go on until their values say stop, once."""
    jaxpr = getattr(jaxpr, "jaxpr", jaxpr)
    # What `jax.vjp` leaves of the forward pass in a gradient that needs nothing of it.
    jaxpr, _ = dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))
    return sum(equation_flops(equation) for equation in jaxpr.eqns)


def equation_flops(equation: Any) -> float:
    name, params = equation.primitive.name, equation.params
    if name == "dot_general":
        left = equation.invars[0].aval.shape
        (contracted, _), _ = params["dimension_numbers"]
        summed = math.prod(left[axis] for axis in contracted)
        return 2.0 * equation.outvars[0].aval.size * summed
    if name == "conv_general_dilated":
        return convolution_flops(equation)
    if name == "cond":
        # Of the ways that suit one platform or another the shortest is enough: an FFT for its products.
        needed = max if params.get("branches_platforms") is None else min
        return needed(product_flops(branch) for branch in params["branches"])
    inner = sum(map(product_flops, inner_jaxprs(params)))
    return params["length"] * inner if name == "scan" else inner


def inner_jaxprs(params: dict[str, Any]) -> Iterator[Any]:
    for value in params.values():
        for one in value if isinstance(value, tuple | list) else (value,):
            if hasattr(getattr(one, "jaxpr", one), "eqns"):
                yield one


def convolution_flops(equation: Any) -> float:
    """Of the products with what is there: padding and the zeros between dilated rows take none."""
    left, kernel = (var.aval.shape for var in equation.invars)
    out = equation.outvars[0].aval.shape
    params = equation.params
    places = params["dimension_numbers"]
    pairs = math.prod(
        meetings(
            left[places.lhs_spec[axis]],
            kernel[places.rhs_spec[axis]],
            out[places.out_spec[axis]],
            params["window_strides"][axis - 2],
            params["padding"][axis - 2][0],
            params["lhs_dilation"][axis - 2],
            params["rhs_dilation"][axis - 2],
        )
        for axis in range(2, len(out))
    )
    rows, channels = out[places.out_spec[0]], out[places.out_spec[1]]
    return 2.0 * rows * channels * kernel[places.rhs_spec[1]] * pairs
