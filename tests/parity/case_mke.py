"""MKE on two moons: three steps of the student, then the notebook's whole runs.

The notebook's initial weights and noise are PyTorch's for a seed. That stream is made anew here, so
that the accuracies are those of the official runs and not merely like them.
"""

import functools
import itertools
from operator import itemgetter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from avssl.losses.knowledge_expansion import expansion_loss, hard_labels, relative_noise

# The notebook's; no array holds them.
NUM_STEPS, UNIMODAL_WIDTH = 2000, 32
LAYERS = ("fc1", "fc2", "fc3")
ACCURACY_TOLERANCE = 0.02

Layers = list[tuple[Any, Any]]


def near_all(actual: Layers, expected: Layers, name: str):
    for found, array in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        atol = 1e-6 * np.abs(array).max()
        np.testing.assert_allclose(found, array, rtol=1e-4, atol=atol, err_msg=name)


def layers_of(golden: dict, prefix: str) -> Layers:
    return [
        (jnp.asarray(golden[f"{prefix}_{name}_w"]), jnp.asarray(golden[f"{prefix}_{name}_b"]))
        for name in LAYERS
    ]


def network(layers: Layers, x: jax.Array) -> jax.Array:
    for number, (weight, bias) in enumerate(layers):
        x = (jax.nn.relu(x) if number else x) @ weight.T + bias[None]
    return x


def student_loss(layers: Layers, x, labels, noise, scale: float) -> jax.Array:
    present = jnp.ones(len(x), bool)
    seen = relative_noise(x, noise, scale=scale, present=present)
    return expansion_loss(network(layers, seen), labels, present=present)[0]


def step(layers: Layers, x, labels, noise, scale: float, learning_rate: float):
    """One of full-batch gradient descent: the new layers; loss and gradients before it."""
    loss, gradients = jax.value_and_grad(student_loss)(layers, x, labels, noise, scale)
    return jax.tree.map(lambda w, g: w - learning_rate * g, layers, gradients), (loss, gradients)


@jax.jit
def train(layers: Layers, noise, x, labels, scale: float, learning_rate: float) -> Layers:
    """Several runs at once: layers, noise [runs, steps, rows, columns] and labels [runs, rows]."""

    def run(layers: Layers, noise, labels) -> Layers:
        def body(layers: Layers, noise):
            return step(layers, x, labels, noise, scale, learning_rate)[0], None

        return jax.lax.scan(body, layers, noise)[0]

    return jax.vmap(run)(layers, noise, labels)


@jax.jit
def classify(layers: Layers, x) -> jax.Array:
    return hard_labels(network(layers, x), present=jnp.ones(len(x), bool))


def check_mke_twomoon(golden: dict):
    check_three_steps(golden)
    check_runs(golden)


def check_three_steps(golden: dict):
    x, labels = jnp.asarray(golden["X_u"]), jnp.asarray(golden["pseudo"], jnp.int32)
    layers, one_step = layers_of(golden, "init"), jax.jit(step)
    for number, noise in enumerate(jnp.asarray(golden["noise"])):
        options = float(golden["alpha"]), float(golden["lr"])
        layers, (loss, gradients) = one_step(layers, x, labels, noise, *options)
        np.testing.assert_allclose(loss, golden["losses"][number], rtol=1e-5)
        if number == 0:
            near_all(gradients, layers_of(golden, "grad0"), "grad0")
    near_all(layers, layers_of(golden, "after3"), "after3")


def check_runs(golden: dict):
    """The share of test points that each student classifies rightly after the whole run."""

    def run(seeds, labels, columns, width) -> np.ndarray:
        x, test = (jnp.asarray(golden[f"X_{part}"][:, :columns]) for part in "ut")
        drawn = [torch_run(int(seed), x.shape, width, NUM_STEPS) for seed in seeds]
        layers, noise = jax.tree.map(lambda *runs: np.stack(runs), *drawn)
        labels = jnp.asarray(np.broadcast_to(labels, (len(seeds), len(x))), jnp.int32)
        options = float(golden["alpha"]), float(golden["lr"])
        layers = jax.tree.map(np.asarray, train(layers, noise, x, labels, *options))
        of_run = [jax.tree.map(itemgetter(i), layers) for i in range(len(seeds))]
        return np.stack([(classify(one, test) == golden["y_t"]).mean() for one in of_run])

    seeds = golden["seeds"]
    unimodal = run(seeds, golden["pseudo"], 1, UNIMODAL_WIDTH)
    # With the teacher's labels, and with the true ones.
    labels = np.repeat([golden["pseudo"], golden["y_u"]], len(seeds), axis=0)
    multimodal = run([*seeds, *seeds], labels, 2, len(golden["init_fc1_b"]))
    expected = np.concatenate([golden[name] for name in ("um_acc", "mm_acc", "mmsup_acc")])
    found = np.concatenate([unimodal, multimodal])
    np.testing.assert_allclose(found, expected, rtol=0, atol=ACCURACY_TOLERANCE)


@functools.cache
def torch_run(seed: int, shape: tuple[int, int], width: int, num_steps: int):
    """The layers and the noise on the input that PyTorch draws for the notebook's run of a seed."""
    stream = np.random.RandomState(seed)  # the same Mersenne twister, seeded alike
    rows, columns = shape
    sizes = (columns, width, width, 2)
    layers = []
    for fan_in, fan_out in itertools.pairwise(sizes):
        bound = fan_in**-0.5
        draws = 2 * bound * uniform(bits(stream, fan_out * (fan_in + 1))) - bound
        weight, bias = np.split(draws.astype(np.float32), [fan_out * fan_in])
        layers.append((weight.reshape(fan_out, fan_in), bias))
    # Each step also draws noise for the hidden layer, which the notebook multiplies by 0.
    on_input, hidden = num_bits(rows * columns), num_bits(rows * width)
    drawn = bits(stream, num_steps * (on_input + hidden)).reshape(num_steps, -1)[:, :on_input]
    return layers, normal(drawn, rows * columns).reshape(num_steps, rows, columns)


def bits(stream: np.random.RandomState, count: int) -> np.ndarray:
    return stream.randint(0, 2**32, count, np.uint32)


def uniform(drawn: np.ndarray) -> np.ndarray:
    return (drawn & (2**24 - 1)).astype(np.float32) * np.float32(2**-24)


def num_bits(count: int) -> int:
    """How many draws `normal` takes: 16 more where the last block is not full."""
    return count + (16 if count % 16 else 0)


def normal(drawn: np.ndarray, count: int) -> np.ndarray:
    """Box and Muller, 8 pairs at a time; the last 16 numbers of a ragged array are drawn again."""
    whole = count // 16 * 16
    blocks = [drawn[:, :whole], drawn[:, count:]]
    pairs = [uniform(part).reshape(len(part), -1, 2, 8) for part in blocks]
    pairs = np.concatenate(pairs, axis=1)
    radius, angle = np.sqrt(-2 * np.log1p(-pairs[:, :, 0])), 2 * np.pi * pairs[:, :, 1]
    values = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=2)
    values = values.reshape(len(drawn), -1).astype(np.float32)
    return np.concatenate([values[:, : count - 16], values[:, -16:]], axis=1)
