"""Made-up records of a few classes, as features that a pass over the data would keep."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from avssl.models.features import Features
from avssl.objectives.base import Objective

NUM_CLASSES, CHANNELS = 4, 6
# Two records more than a multiple of four: what a mesh pads.
NUM_RECORDS, NUM_ROWS = 42, 48


def classes() -> np.ndarray:
    return np.arange(NUM_RECORDS) % NUM_CLASSES


def kept_features(seed: int = 0, noise: float = 0.05) -> dict[str, jax.Array]:
    """Features around a direction per class and modality; rows past the last record hold rubbish."""
    random = np.random.default_rng(seed)
    kept = {}
    for name in ("video", "audio"):
        directions = random.permutation(np.eye(CHANNELS))[:NUM_CLASSES]
        rows = np.full((NUM_ROWS, CHANNELS), 1e3)
        shape = (NUM_RECORDS, CHANNELS)
        rows[:NUM_RECORDS] = 3.0 * directions[classes()] + noise * random.normal(size=shape)
        kept[name] = jnp.asarray(rows, jnp.float32)
    return kept


def seen() -> jax.Array:
    return jnp.arange(NUM_ROWS) < NUM_RECORDS


def features_of(objective: Objective, rows: np.ndarray) -> dict:
    kept = kept_features()
    return {
        objective.video_read: Features(kept["video"][rows]),
        objective.audio_read: Features(kept["audio"][rows]),
    }


def batch_of(rows: np.ndarray, step: int = 0) -> dict:
    there = jnp.ones(len(rows), bool)
    return {
        "index": jnp.asarray(rows, jnp.int32),
        "row": jnp.arange(len(rows), dtype=jnp.int32),
        "step": jnp.asarray(step, jnp.int32),
        "present": {"video": there, "audio": there},
    }


def initialised(objective: Objective, seed: int = 0) -> dict:
    rows = np.arange(4)

    @jax.jit
    def made(key):
        features, batch = features_of(objective, rows), batch_of(rows)
        return objective.init({"params": key, "draw": key}, features, batch, method="initialise")

    return made(jax.random.key(seed))


def one_step(objective: Objective, variables: dict, rows: np.ndarray, step: int = 0, *, train=True):
    """(outputs, outcome, memory after it) on some of the records."""
    return compiled_step(objective, variables, tuple(rows.tolist()), step, train)


@functools.partial(jax.jit, static_argnums=(0, 2, 4))
def compiled_step(objective, variables, rows, step, train):
    rows = np.array(rows)
    rngs = {"draw": jax.random.key(step)}
    outputs, _ = objective.apply(
        variables, features_of(objective, rows), batch_of(rows, step), train=train,
        method="heads", rngs=rngs, mutable=["batch_stats"],
    )  # fmt: skip
    outcome, updated = objective.apply(
        variables, outputs, batch_of(rows, step), train=train, rngs=rngs, mutable=["memory"]
    )
    return outputs, outcome, updated.get("memory", {})


def agree(labels: np.ndarray, truth: np.ndarray) -> bool:
    """Whether two labellings are the same but for names."""
    pairs = set(zip(labels.tolist(), truth.tolist(), strict=True))
    return len(pairs) == len(set(labels.tolist())) == len(set(truth.tolist()))
