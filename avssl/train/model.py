"""The model of a run: view arrays in, one loss out.

Two halves with one seam between them. `encode` prepares the views, runs each distinct read once and the
objectives' heads: per-example work, on whatever rows it is given. `loss` compares examples: it needs the
outputs of the whole batch. Whoever gathers in between (a mesh, pmap, accumulation) is no business of either.
"""

import dataclasses
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from avssl.data.joined import empty_targets
from avssl.data.views import VideoView, View
from avssl.losses.monitors import cosine_monitors, spread_monitors
from avssl.models.features import Features
from avssl.objectives.base import Batch, Objective, Outputs, Read
from avssl.signal.ambisonics import rotate_to_view, viewing_angles
from avssl.signal.augment import audio_to_float, colour_jitter, video_to_float, volume
from avssl.signal.stripes import mask_stripes
from avssl.teachers.spec import Taught
from avssl.train.mesh import compute_type, float_type, path_name
from avssl.train.optim import matches

Variables = dict[str, Any]


def purpose_key(key: Array, purpose: str) -> Array:
    """A key of its own for each purpose, whatever order purposes are asked in."""
    return jax.random.fold_in(key, zlib.crc32(purpose.encode()) & 0x7FFFFFFF)


def row_keys(key: Array, rows: Array) -> Array:
    """A key for each row of the global batch."""
    return jax.vmap(lambda row: jax.random.fold_in(key, row))(rows)


@dataclasses.dataclass(frozen=True)
class Model:
    """Encoders, their front ends and the objectives with a weight."""

    views: Mapping[str, View]
    encoders: Mapping[str, nn.Module]
    frontends: Mapping[str, Any]  # a front end of signal/ by encoder: video ones take no rate
    objectives: Mapping[str, Objective]
    reads: tuple[Read, ...]
    precision: str = "float32"
    taught: Mapping[str, Taught] = dataclasses.field(default_factory=dict)  # by teacher
    frozen: tuple[str, ...] = ()  # expressions on the paths of parameters that stay as they are

    def init(self, key: Array) -> Variables:
        """Parameters, running statistics and memory, in the type of the precision."""
        batch = self.complete(self.example_batch(2))
        variables: Variables = {"params": {}, "batch_stats": {}, "memory": {}}
        parameters: dict[str, Any] = {"encoders": {}, "objectives": {}}
        statistics: dict[str, Any] = {"encoders": {}, "objectives": {}}
        features = {}
        for read in self.reads:
            encoder = self.encoders[read.encoder]
            example, rows = self.inputs(read, batch, None), self.rows(read, batch)
            if read.encoder not in parameters["encoders"]:
                made = encoder.init(purpose_key(key, read.encoder), example, train=False, rows=rows)
                parameters["encoders"][read.encoder] = made.get("params", {})
                statistics["encoders"][read.encoder] = made.get("batch_stats", {})
            encoded: Any = encoder.apply(
                {
                    "params": parameters["encoders"][read.encoder],
                    "batch_stats": statistics["encoders"][read.encoder],
                },
                example, train=False, rows=rows,
            )  # fmt: skip
            features[read] = by_window(encoded, self.num_windows(read))
        for name, objective in self.objectives.items():
            own_key = purpose_key(key, name)
            made = objective.init(
                {"params": own_key, "draw": own_key},
                self.read_by(objective, features), batch, method="initialise",
            )  # fmt: skip
            parameters["objectives"][name] = made.get("params", {})
            statistics["objectives"][name] = made.get("batch_stats", {})
            variables["memory"][name] = made.get("memory", {})
        variables["params"], variables["batch_stats"] = parameters, statistics
        dtype = float_type(self.precision)
        return jax.tree.map(
            lambda leaf: leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf,
            variables,
        )

    def encode(
        self, variables: Variables, batch: Batch, key: Array, *, train: bool
    ) -> tuple[dict[str, Outputs], Any]:
        """The heads' outputs of each objective, and the new running statistics."""
        features, statistics = self.features(variables, batch, key, train=train)
        outputs, head_statistics = self.heads(variables, features, batch, key, train=train)
        return outputs, {"encoders": statistics, "objectives": head_statistics}

    def heads(
        self,
        variables: Variables,
        features: Mapping[Read, Features],
        batch: Batch,
        key: Array,
        *,
        train: bool,
    ) -> tuple[dict[str, Outputs], Any]:
        """Each objective's per-example modules on the features it reads."""
        outputs, statistics = {}, {}
        batch = self.complete(batch)
        memory = variables["memory"] if "memory" in variables else self.blank_memory()
        for name, objective in self.objectives.items():
            outputs[name], updated = objective.apply(
                {
                    "params": variables["params"]["objectives"][name],
                    "memory": memory[name],
                    "batch_stats": variables["batch_stats"]["objectives"][name],
                },
                self.read_by(objective, features), batch, train=train, method="heads",
                rngs={"draw": purpose_key(key, name)}, mutable=["batch_stats"],
            )  # fmt: skip
            statistics[name] = updated.get("batch_stats", {})
            if any(read.mode == "ema" for read in objective.reads()):
                averaged = {
                    "params": variables["ema"]["objectives"][name],
                    "memory": memory[name],
                    "batch_stats": variables["batch_stats"]["objectives"][name],
                }
                targets: Any = objective.apply(
                    averaged, self.read_by(objective, features), batch, method="target_heads"
                )
                outputs[name] = {**outputs[name], **jax.lax.stop_gradient(targets)}
        return outputs, statistics

    def features(
        self,
        variables: Variables,
        batch: Batch,
        key: Array,
        *,
        train: bool,
        draws: bool | None = None,
    ) -> tuple[dict[Read, Features], Any]:
        """Each distinct read once; views of equal specification are one view, whatever their names.

        draws: whether colours, volume and masks are drawn by `key`; by default in training alone.
        """
        draws = train if draws is None else draws
        made: dict[Any, Features] = {}
        prepared: dict[Any, Array] = {}
        updates: dict[str, list[Any]] = {}
        for read in self.reads:
            view, frontend = self.views[read.view], self.frontends[read.encoder]
            identity = self.identity(read)
            if identity in made:
                continue
            heard = (view, frontend, read.toward, read.official_rotation)
            if heard not in prepared:
                prepared[heard] = self.inputs(read, batch, key if draws else None)
            live = train and read.mode == "train" and not self.stands_still(read.encoder, variables)
            weights = variables["ema" if read.mode == "ema" else "params"]
            encoded, updated = self.encoders[read.encoder].apply(
                {
                    "params": weights["encoders"][read.encoder],
                    "batch_stats": variables["batch_stats"]["encoders"][read.encoder],
                },
                prepared[heard], train=live, rows=self.rows(read, batch),
                rngs={"draw": purpose_key(key, f"{read.encoder} {view!r}")},
                mutable=["batch_stats"],
            )  # fmt: skip
            if live:
                updates.setdefault(read.encoder, []).append(updated.get("batch_stats", {}))
            # Losses compare in the type of the parameters; maps stay in the type of the arithmetic.
            encoded = encoded.replace(
                embedding=encoded.embedding.astype(float_type(self.precision))
            )
            encoded = by_window(encoded, self.num_windows(read))
            made[identity] = encoded if live else jax.lax.stop_gradient(encoded)
        # Each read updated the same old statistics: their mean is one update by all views of an encoder.
        statistics = {
            name: jax.tree.map(lambda *leaves: sum(leaves) / len(leaves), *updates[name])
            if name in updates
            else old
            for name, old in variables["batch_stats"]["encoders"].items()
        }
        return {read: made[self.identity(read)] for read in self.reads}, statistics

    def answered(self, variables: Variables, batch: Batch) -> Array:
        """bool [batch]: the rows of which every objective knows what is to be said of them."""
        said: Any = [
            objective.apply(
                {
                    "params": variables["params"]["objectives"][name],
                    "memory": variables["memory"][name],
                },
                batch, method="answered",
            )
            for name, objective in self.objectives.items()
        ]  # fmt: skip
        return jnp.stack(said).all(axis=0)

    def with_frozen(self, params: Any) -> Any:
        """The parameters, without gradient to those that are frozen."""
        if not self.frozen:
            return params
        return jax.tree_util.tree_map_with_path(
            lambda path, leaf: (
                jax.lax.stop_gradient(leaf) if matches(self.frozen, path_name(path)) else leaf
            ),
            params,
        )

    def stands_still(self, encoder: str, variables: Variables) -> bool:
        """Whether all parameters of an encoder are frozen: then it runs as in evaluation, its BatchNorm too."""
        if not self.frozen:
            return False
        own = variables["params"]["encoders"][encoder]
        paths = [path_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(own)]
        return bool(paths) and all(
            matches(self.frozen, f"encoders/{encoder}/{path}") for path in paths
        )

    def compare(self, parameters: Any, name: str, method: str, video: Array, audio: Array) -> Array:
        """An objective's `similarity` or `row_similarity`. To be called under jit, see `blank_memory`."""
        scores: Any = self.objectives[name].apply(
            {"params": parameters, "memory": self.blank_memory()[name]}, video, audio, method=method
        )
        return scores

    def blank_memory(self) -> Any:
        """Zeros in the shapes of memory, for an evaluation: no head reads them, so they never exist."""
        shapes = jax.eval_shape(self.init, jax.random.key(0))["memory"]
        return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

    def without_draws(self) -> "Model":
        """The model with evaluation views."""
        views = {name: view.evaluation() for name, view in self.views.items()}
        return dataclasses.replace(self, views=views)

    def without_teachers(self) -> "Model":
        """The model with the views of its own reads: in evaluation no teacher says anything."""
        return self.only(list(self.objectives)) if self.taught else self

    def only(self, names: Sequence[str]) -> "Model":
        """The model with some of its objectives, and with what they read."""
        objectives = {name: self.objectives[name] for name in names}
        reads = dict.fromkeys(read for one in objectives.values() for read in one.reads())
        used = {view for read in reads for view in (read.view, read.toward)}
        views = {name: view for name, view in self.views.items() if name in used}
        return dataclasses.replace(self, views=views, objectives=objectives, reads=tuple(reads))

    def complete(self, batch: Batch) -> dict[str, Any]:
        """The batch with a step, and with silence of every teacher that says nothing in it.

        Outside training nothing has been learnt yet, as far as schedules are concerned.
        """
        size = batch["row"].shape[0]
        targets = {
            name: {
                kind: jnp.zeros((size, *shape), float_type(self.precision))
                for kind, shape in one.shapes.items()
            }
            for name, one in self.taught.items()
        }
        silent = {name: jnp.zeros((size,), bool) for name in self.taught}
        return {
            "step": jnp.zeros((), jnp.int32),
            **batch,
            "targets": {**targets, **batch.get("targets", {})},
            "taught": {**silent, **batch.get("taught", {})},
        }

    def identity(self, read: Read) -> Any:
        """What makes two reads one."""
        view = self.views[read.view]
        return view, read.encoder, read.mode, read.toward, read.official_rotation

    def num_windows(self, read: Read) -> int:
        return self.views[read.toward or read.view].windows

    def rows(self, read: Read, batch: Batch) -> Array:
        """The row of the global batch, or a number of its own for each window of each row."""
        return window_rows(batch["row"], self.num_windows(read))

    def loss(
        self,
        variables: Variables,
        outputs: Mapping[str, Outputs],
        batch: Batch,
        key: Array,
        *,
        train: bool,
    ) -> tuple[Array, tuple[dict[str, Array], Any]]:
        """(weighted sum, (metrics, new memory)) of the global batch."""
        total = jnp.zeros((), float_type(self.precision))
        metrics: dict[str, Array] = {}
        memory = {}
        completed = self.complete(batch)
        for name, objective in self.objectives.items():
            outcome, updated = objective.apply(
                {
                    "params": variables["params"]["objectives"][name],
                    "memory": variables["memory"][name],
                },
                outputs[name], completed, train=train,
                rngs={"draw": purpose_key(key, name)}, mutable=["memory"],
            )  # fmt: skip
            memory[name] = updated.get("memory", {})
            total = total + objective.weight * outcome.loss
            extra = {**outcome.metrics, **monitors(objective, outputs[name], batch)}
            metrics[f"{name}/loss"] = outcome.loss
            metrics.update({f"{name}/{metric}": value for metric, value in extra.items()})
        return total, (metrics, memory)

    def inputs(self, read: Read, batch: Batch, key: Array | None) -> Array:
        """A view as its encoder wants it, one row per window; augmented if there is a key."""
        view = self.views[read.view]
        array = merged_windows(batch["views"][read.view], view.windows)
        dtype = compute_type(self.precision)
        keys = None
        if key is not None:
            rows = window_rows(batch["row"], view.windows)
            keys = row_keys(purpose_key(key, f"augment {view!r}"), rows)
        if isinstance(view, VideoView):
            video = video_to_float(array, dtype)
            if keys is not None:
                video = colour_jitter(
                    video, keys, brightness=view.brightness, contrast=view.contrast,
                    saturation=view.saturation, hue=view.hue,
                )  # fmt: skip
            return self.frontends[read.encoder](video)
        waveform = audio_to_float(array, float_type(self.precision))
        if keys is not None:
            waveform = volume(waveform, keys, amount=view.volume)
        if read.toward:
            directions = batch["geometry"][read.toward]["direction"]
            directions = directions.reshape(len(waveform), -1, 2).astype(waveform.dtype)
            each = (*directions.shape[:2], *waveform.shape[1:])
            waveform = rotate_to_view(
                jnp.broadcast_to(waveform[:, None], each), *viewing_angles(directions),
                official_order=read.official_rotation,
            ).reshape(-1, *waveform.shape[1:])  # fmt: skip
        frontend = self.frontends[read.encoder]
        heard = frontend(waveform, rate=view.rate)
        if keys is not None:
            heard = mask_stripes(
                heard, keys if not read.toward else jnp.repeat(keys, len(heard) // len(keys)),
                time_masks=view.time_masks, frequency_masks=view.frequency_masks,
            )  # fmt: skip
        return heard if getattr(frontend, "stays_wide", False) else heard.astype(dtype)

    def read_by(
        self, objective: Objective, features: Mapping[Read, Features]
    ) -> dict[Read, Features]:
        return {read: features[read] for read in objective.reads()}

    def example_batch(self, size: int) -> dict[str, Any]:
        """A batch of zeros with the shapes and types of the pipeline's."""

        def rows_of(shape: tuple[int, ...], dtype: Any) -> Array:
            return jnp.zeros((size, *shape), dtype)

        rows = jnp.arange(size, dtype=jnp.int32)
        return {
            "views": {name: rows_of(*view.array) for name, view in self.views.items()},
            "geometry": {
                name: {place: rows_of(*kind) for place, kind in view.geometry.items()}
                for name, view in self.views.items()
            },
            "present": {name: jnp.ones((size,), bool) for name in self.views},
            "index": rows,
            "label": rows,
            "valid": jnp.ones((size,), bool),
            "fault": rows - size,
            "row": rows,
            **self.example_targets(size),
        }

    def example_targets(self, size: int) -> dict[str, Any]:
        """The part of a batch that comes from stores."""
        stored = {name: one for name, one in self.taught.items() if one.stored}
        empty = jax.tree.map(jnp.asarray, empty_targets(stored, size))
        return (
            {**empty, "taught": {name: jnp.ones((size,), bool) for name in stored}} if empty else {}
        )


def monitors(objective: Objective, outputs: Outputs, batch: Batch) -> dict[str, Array]:
    """Collapse monitors of what an objective's heads give for video and audio."""
    present = objective.both_present(batch)
    found: dict[str, Array] = {}
    for modality in ("video", "audio"):
        if modality in outputs:
            for key, value in spread_monitors(outputs[modality], present=present).items():
                found[f"{modality}_{key}"] = value
    if (pair := objective.joint(outputs)) is not None:
        found.update(cosine_monitors(*pair, index=batch["index"], present=present))
    return jax.lax.stop_gradient(found)


def merged_windows(array: Array, num_windows: int) -> Array:
    """[batch, windows, ...] to [batch x windows, ...]; an only window has no axis."""
    return array if num_windows == 1 else array.reshape(-1, *array.shape[2:])


def window_rows(rows: Array, num_windows: int) -> Array:
    return (rows[:, None] * num_windows + jnp.arange(num_windows)[None, :]).reshape(-1)


def by_window(features: Any, num_windows: int) -> Any:
    """The inverse of `merged_windows`, of all that an encoder gives."""
    if num_windows == 1:
        return features
    return jax.tree.map(lambda leaf: leaf.reshape(-1, num_windows, *leaf.shape[1:]), features)


def without_views(batch: Batch) -> dict[str, Any]:
    """The small per-example arrays: what crosses the seam beside the outputs."""
    small = {key: value for key, value in batch.items() if key != "views"}
    if "targets" in small:
        small["targets"] = {
            name: {kind: array for kind, array in targets.items() if kind != "map"}
            for name, targets in small["targets"].items()
        }
    return small
