"""Multinomial logistic regression by L-BFGS on the device."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jaxtyping import Float, Int

from avssl.evaluate.blocks import block_rows, in_blocks

# Rows whose logits stay in the processor's cache between the two matrix products.
BLOCK = 2048
PADDING = -1


@dataclasses.dataclass(frozen=True)
class LogisticRegression:
    """logits = features @ weights + bias."""

    weights: Float[np.ndarray, "d classes"]
    bias: Float[np.ndarray, "classes"]
    num_steps: int
    largest_gradient: float

    def predict(self, features: Float[np.ndarray, "n d"]) -> Int[np.ndarray, "n"]:
        rows = in_blocks(features, block_rows(len(features), BLOCK), 0.0)
        winners = [np.asarray(_winners(self.weights, self.bias, block)) for block in rows]
        return np.concatenate(winners)[: len(features)]


def fit_logistic(
    features: Float[np.ndarray, "n d"],
    labels: Int[np.ndarray, "n"],
    *,
    num_classes: int,
    weight_decay: float,
    tolerance: float = 1e-4,
    max_steps: int = 300,
    start: LogisticRegression | None = None,
) -> LogisticRegression:
    """Minimises mean cross-entropy + weight_decay / 2 * sum(weights^2); the bias is not decayed.

    scikit-learn's LogisticRegression(C=1 / (n * weight_decay)) minimises 1 / weight_decay times
    that. Stops when no entry of the gradient is above `tolerance`, or after `max_steps`. `start`
    only saves steps: there is one minimum.
    """
    block = block_rows(len(features), BLOCK)
    if start is None:
        dtype = features.dtype
        params = _Params(
            jnp.zeros((features.shape[1], num_classes), dtype), jnp.zeros(num_classes, dtype)
        )
    else:
        params = _Params(jnp.asarray(start.weights), jnp.asarray(start.bias))
    params, num_steps, largest = _minimise(
        params,
        in_blocks(features, block, 0.0),
        in_blocks(labels.astype(np.int32), block, PADDING),
        float(weight_decay),
        tolerance,
        max_steps,
    )
    return LogisticRegression(
        np.asarray(params.weights), np.asarray(params.bias), int(num_steps), float(largest)
    )


class _Params(NamedTuple):
    weights: Array
    bias: Array


class _State(NamedTuple):
    params: _Params
    logits: Array
    gradient: _Params
    lbfgs: optax.OptState
    step: Array


@jax.jit
def _minimise(params, features, labels, weight_decay, tolerance, max_steps):
    """L-BFGS that carries the logits along.

    The logits are linear in the parameters, so a step costs one matrix product for the logits of
    its direction and one for the gradient, however many lengths the line search tries.
    """
    direction_of = optax.scale_by_lbfgs(memory_size=10)

    def unfinished(state: _State):
        return (_largest(state.gradient) > tolerance) & (state.step < max_steps)

    def advance(state: _State):
        update, lbfgs = direction_of.update(state.gradient, state.lbfgs, state.params)
        direction = jax.tree.map(jnp.negative, update)
        change = _logits(direction, features)
        length = _step_length(state, direction, change, labels, weight_decay)
        params = jax.tree.map(lambda p, u: p + length * u, state.params, direction)
        logits = state.logits + length * change
        gradient = _gradient(params, logits, features, labels, weight_decay)
        return _State(params, logits, gradient, lbfgs, state.step + 1)

    logits = _logits(params, features)
    gradient = _gradient(params, logits, features, labels, weight_decay)
    state = _State(params, logits, gradient, direction_of.init(params), jnp.zeros((), jnp.int32))
    state = jax.lax.while_loop(unfinished, advance, state)
    return state.params, state.step, _largest(state.gradient)


def _step_length(state: _State, direction: _Params, change: Array, labels: Array, weight_decay):
    """Newton's method on the slope along the direction, kept between two signs of it.

    The loss is convex, so its slope along a line only grows. Slopes, not values: near the minimum
    float32 cannot tell two losses apart.
    """
    cross = jnp.vdot(state.params.weights, direction.weights)
    square = jnp.vdot(direction.weights, direction.weights)
    num_rows = (labels != PADDING).sum()

    def slope_and_curvature(length):
        def add(sums, block):
            logits, change, labels = block
            real = labels != PADDING
            shares = jax.nn.softmax(logits + length * change)
            mean = (shares * change).sum(axis=1)
            slope = mean - (_one_hot(labels, change) * change).sum(axis=1)
            curvature = (shares * (change - mean[:, None]) ** 2).sum(axis=1)
            return (sums[0] + (real * slope).sum(), sums[1] + (real * curvature).sum()), None

        zero = jnp.zeros((), change.dtype)
        (slope, curvature), _ = jax.lax.scan(add, (zero, zero), (state.logits, change, labels))
        slope = slope / num_rows + weight_decay * (cross + length * square)
        return slope, curvature / num_rows + weight_decay * square

    def unfinished(search):
        _, slope, _, _, _, trial = search
        return (jnp.abs(slope) > 0.1 * jnp.abs(first_slope)) & (trial < 20)

    def narrow(search):
        length, slope, curvature, low, high, trial = search
        low, high = jnp.where(slope < 0, length, low), jnp.where(slope < 0, high, length)
        newton = length - slope / curvature
        middle = jnp.where(jnp.isfinite(high), (low + high) / 2, 2 * length + 1)
        length = jnp.where((newton > low) & (newton < high), newton, middle)
        return length, *slope_and_curvature(length), low, high, trial + 1

    zero = jnp.zeros((), change.dtype)
    first_slope, first_curvature = slope_and_curvature(zero)
    search = (zero, first_slope, first_curvature, zero, jnp.full_like(zero, jnp.inf), 0)
    return jax.lax.while_loop(unfinished, narrow, search)[0]


def _gradient(params: _Params, logits, features, labels, weight_decay) -> _Params:
    num_rows = (labels != PADDING).sum()

    def add(sums, block):
        logits, features, labels = block
        real = (labels != PADDING)[:, None]
        error = real * (jax.nn.softmax(logits) - _one_hot(labels, logits))
        weights = jnp.einsum("nd,nc->dc", features, error, precision="highest")
        return _Params(sums.weights + weights, sums.bias + error.sum(axis=0)), None

    sums, _ = jax.lax.scan(add, jax.tree.map(jnp.zeros_like, params), (logits, features, labels))
    return _Params(sums.weights / num_rows + weight_decay * params.weights, sums.bias / num_rows)


def _logits(params: _Params, features: Float[Array, "blocks n d"]) -> Float[Array, "blocks n c"]:
    return jax.lax.map(lambda rows: _affine(params.weights, params.bias, rows), features)


def _affine(weights, bias, features):
    return jnp.einsum("nd,dc->nc", features, weights, precision="highest") + bias[None]


def _one_hot(labels, like: Array) -> Array:
    return jax.nn.one_hot(labels, like.shape[-1], dtype=like.dtype)


def _largest(gradient: _Params) -> Array:
    return jnp.maximum(jnp.abs(gradient.weights).max(), jnp.abs(gradient.bias).max())


@jax.jit
def _winners(weights, bias, features):
    return _affine(weights, bias, features).argmax(axis=1)
