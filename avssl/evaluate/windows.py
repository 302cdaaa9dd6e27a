"""What objectives say of several windows and crops of each clip, averaged by clip: N x M evaluation.

Windows lie evenly over the record, crops evenly along the longer side of the picture. The probabilities are
averaged, and given as the logits that have them, so that protocols need not know how many there were.
"""

import dataclasses
import math
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import logsumexp

from avssl.data.pipeline import evaluation_batches
from avssl.data.record import Source
from avssl.data.views import VideoView, View, spread
from avssl.errors import UsageError
from avssl.evaluate.features import concatenated
from avssl.evaluate.saying import borne
from avssl.train.mesh import batch_sharding, local_mesh, replicated
from avssl.train.model import Model, purpose_key

# What objectives say, as their methods are called: one of the classes, or each by itself.
KINDS = ("label_logits", "tag_logits")
# By objective, kind and who says so: [clips, classes].
Said = dict[str, dict[str, dict[str, np.ndarray]]]


@dataclasses.dataclass(frozen=True)
class Windows:
    """How many windows in time, and of each how many crops."""

    clips: int = 1
    crops: int = 1

    @property
    def several(self) -> bool:
        return self.clips * self.crops > 1

    def __str__(self) -> str:
        return f"mean of {self.clips} windows x {self.crops} crops of each clip"


class Averaged(NamedTuple):
    """`said` of some clips, and which views each of them has: {"present": {view: bool [clips]}}."""

    batch: dict[str, dict[str, np.ndarray]]
    said: Said


class Averaging:
    """Compiled once, used for any weights; `variables` have their shapes."""

    def __init__(self, model: Model, variables: Any, windows: Windows, batch_size: int = 64):
        self.model = model = answering(model, variables).without_draws()
        sees = any(isinstance(view, VideoView) for view in model.views.values())
        crops = windows.crops if sees else 1
        self.number = windows.clips * crops
        self.views = {}
        for name, view in model.views.items():
            if has_places(view):
                raise UsageError(
                    f"eval.clips and eval.crops make several windows of the one of a view, and '{name}' has "
                    "its own: leave them out"
                )
            self.views[name] = spread(view, windows.clips, crops)
        self.mesh = local_mesh()
        # As many rows at a time as of single windows.
        self.num_clips = math.ceil(max(batch_size // self.number, 1) / self.mesh.size)
        self.num_clips *= self.mesh.size
        sharding = batch_sharding(self.mesh)
        self.forward = jax.jit(
            lambda variables, batch: said(model, variables, batch, self.views, self.number),
            in_shardings=(replicated(self.mesh), sharding), out_shardings=sharding,
        )  # fmt: skip

    def __call__(
        self, weights: Mapping[str, Any], source: Source, indices: np.ndarray, *, workers: int = 0
    ) -> tuple[np.ndarray, dict[str, Averaged]]:
        """(which of `indices` have in every window what some objective needs, what is said of those by name of
        the weights).
        """
        placed = {name: jax.device_put(own, replicated(self.mesh)) for name, own in weights.items()}
        parts: dict[str, list[Said]] = {name: [] for name in weights}
        kept: list[np.ndarray] = []
        present: list[dict[str, np.ndarray]] = []
        with evaluation_batches(
            source, self.views, batch_size=self.num_clips, indices=indices, workers=workers
        ) as batches:
            for batch in batches:
                mask = batch.pop("mask")
                mask &= borne(self.model, batch)
                kept.append(mask)
                present.append({view: there[mask] for view, there in batch["present"].items()})
                on_device = jax.device_put(batch, batch_sharding(self.mesh))
                for name, variables in placed.items():
                    found = jax.device_get(self.forward(variables, on_device))
                    parts[name].append(by_clip(found, self.number, mask))
        there = {"present": concatenated(present)}
        said_by = {name: Averaged(there, concatenated(own)) for name, own in parts.items()}
        return np.concatenate(kept)[: len(indices)], said_by


def has_places(view: View) -> bool:
    """Whether a view has several windows, or one elsewhere than in the middle of a flat picture."""
    drawn = any(view.shift_seconds) or getattr(view, "objects", None)
    return bool(view.windows != 1 or drawn or getattr(view, "projection", "flat") != "flat")


def answering(model: Model, variables: Any) -> Model:
    """The model with the objectives that say classes or tags, and with what they look at."""
    outputs = jax.eval_shape(
        lambda: model.encode(variables, model.example_batch(2), jax.random.key(0), train=False)[0]
    )
    names = [
        name
        for name, objective in model.objectives.items()
        if any(getattr(objective, kind)(outputs[name]) for kind in KINDS)
    ]
    return model.only(names)


def said(model: Model, variables: Any, batch: Any, views: Mapping[str, View], number: int) -> Any:
    """The logits of every window, [clips x windows, classes], each encoded as a clip of its own."""

    def as_rows(leaf: jax.Array, view: View) -> jax.Array:
        # A single window has no axis; a sound has one for all crops that begin with it.
        windows = leaf if view.windows > 1 else leaf[:, None]
        every = jnp.repeat(windows, number // view.windows, axis=1)
        return every.reshape(-1, *every.shape[2:])

    apart = {
        group: {
            name: jax.tree.map(partial(as_rows, view=views[name]), arrays)
            for name, arrays in batch[group].items()
        }
        for group in ("views", "geometry")
    }
    rest = {key: value for key, value in batch.items() if key not in apart}
    rows = {**jax.tree.map(lambda leaf: jnp.repeat(leaf, number, axis=0), rest), **apart}
    key = purpose_key(jax.random.key(0), "evaluation")
    outputs, _ = model.encode(variables, rows, key, train=False)
    return {
        name: {kind: getattr(objective, kind)(outputs[name]) for kind in KINDS}
        for name, objective in model.objectives.items()
    }


def by_clip(found: Any, number: int, mask: np.ndarray) -> Said:
    means = {"label_logits": mean_of_classes, "tag_logits": mean_of_tags}
    return {
        name: {
            kind: {
                who: means[kind](logits.reshape(-1, number, logits.shape[-1])[mask])
                for who, logits in answers.items()
            }
            for kind, answers in kinds.items()
        }
        for name, kinds in found.items()
    }


def mean_of_classes(logits: np.ndarray) -> np.ndarray:
    """[clips, windows, classes] to logits whose softmax is the mean of the windows' softmaxes."""
    logits = logits.astype(np.float64)
    logs = logits - logsumexp(logits, axis=2, keepdims=True)
    return logsumexp(logs, axis=1) - np.log(logits.shape[1])


def mean_of_tags(logits: np.ndarray) -> np.ndarray:
    """[clips, windows, classes] to logits whose sigmoid is the mean of the windows' sigmoids."""
    logits = logits.astype(np.float64)
    has, has_not = -np.logaddexp(0, -logits), -np.logaddexp(0, logits)
    return logsumexp(has, axis=1) - logsumexp(has_not, axis=1)
