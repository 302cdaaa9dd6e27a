"""Features of every clip of a source: one ordered pass with centre windows and centre crops.

The encoders and heads run as in training but with running statistics and without any draw. The last partial
batch is padded and the padding dropped, so that the numbers do not depend on the batch size or the devices.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from avssl.data.iterator import BatchIterator
from avssl.data.pipeline import evaluation_batches
from avssl.data.record import Source
from avssl.evaluate.knn import unit_rows
from avssl.evaluate.layers import first_reads, layer_features
from avssl.losses.teacher_hints import object_response
from avssl.objectives.base import Outputs
from avssl.train.mesh import batch_sharding, local_mesh, replicated
from avssl.train.model import Model, purpose_key

PROBED = ("video", "audio", "joint")


class OnDevice(Mapping[str, jax.Array]):
    """Arrays of the host, each moved to the device when it is asked for."""

    def __init__(self, arrays: Mapping[str, np.ndarray]):
        self.arrays = arrays

    def __getitem__(self, key: str) -> jax.Array:
        return jnp.asarray(self.arrays[key])

    def __contains__(self, key: object) -> bool:
        return key in self.arrays

    def __iter__(self) -> Iterator[str]:
        return iter(self.arrays)

    def __len__(self) -> int:
        return len(self.arrays)


@dataclasses.dataclass(frozen=True)
class Extracted:
    """Row i of every array is the same clip. `outputs` are those of the objectives' heads."""

    embeddings: dict[str, np.ndarray]  # by modality, and by layer where those are asked for
    outputs: dict[str, dict[str, np.ndarray]]  # by objective
    labels: np.ndarray
    index: np.ndarray
    present: dict[str, np.ndarray]  # by modality
    geometry: dict[str, dict[str, np.ndarray]]  # by view
    num_unreadable: int

    def of(self, objective: str) -> Outputs:
        """An objective's outputs, for its own functions, which look up those that they need."""
        return cast(Outputs, OnDevice(self.outputs[objective]))

    def where(self, rows: np.ndarray) -> "Extracted":
        """The rows of a mask, or those of given numbers."""
        if rows.dtype == bool and rows.all():
            return self
        return dataclasses.replace(
            self,
            embeddings={name: array[rows] for name, array in self.embeddings.items()},
            outputs={
                name: {key: array[rows] for key, array in outputs.items()}
                for name, outputs in self.outputs.items()
            },
            labels=self.labels[rows],
            index=self.index[rows],
            present={name: array[rows] for name, array in self.present.items()},
            geometry={
                view: {name: array[rows] for name, array in places.items()}
                for view, places in self.geometry.items()
            },
        )


def nothing() -> Extracted:
    none = np.zeros(0, np.int32)
    return Extracted({}, {}, none, none, {}, {}, 0)


def probed(extracted: Extracted) -> dict[str, np.ndarray]:
    """Features by name: of modalities, joint ones, of layers.

    Joint ones are the embeddings of both, each scaled to unit length so that neither drowns the other.
    """
    kinds = dict(extracted.embeddings)
    if {"video", "audio"} <= kinds.keys():
        unit = [unit_rows(kinds[modality]) for modality in ("video", "audio")]
        kinds["joint"] = np.concatenate(unit, axis=1)
    known = {name: kinds.pop(name) for name in PROBED if name in kinds}
    return {**known, **kinds}


class Extractor:
    """Compiled once, used for the trained and the random encoder on every source."""

    def __init__(self, model: Model, batch_size: int = 64, layers: Sequence[str] = ()):
        self.model = model.without_draws()
        self.layers = layers
        self.mesh = local_mesh()
        num_devices = self.mesh.size
        self.batch_size = -(-batch_size // num_devices) * num_devices
        self.first_view = first_reads(self.model)
        sharding = batch_sharding(self.mesh)
        self.forward = jax.jit(
            self._forward, in_shardings=(replicated(self.mesh), sharding), out_shardings=sharding
        )

    def _forward(self, variables: Any, batch: Any) -> Any:
        key = purpose_key(jax.random.key(0), "evaluation")
        features, _ = self.model.features(variables, batch, key, train=False)
        outputs = self.model.heads(variables, features, batch, key, train=False)[0]
        for name, own in outputs.items():
            if "video_map" in own:
                # What the encoder says without any sound.
                picture = features[self.model.objectives[name].video_read]
                own["object_map"] = object_response(picture.map)[0]
        embeddings = {
            modality: one_vector(features[read].embedding)
            for modality, read in self.first_view.items()
        }
        seen = {modality: features[read] for modality, read in self.first_view.items()}
        return {**embeddings, **layer_features(self.layers, seen)}, outputs

    def batches(
        self,
        source: Source,
        indices: np.ndarray | None,
        workers: int,
        starts: np.ndarray | None = None,
        starts_of: str = "",
    ) -> BatchIterator:
        return evaluation_batches(
            source,
            dict(self.model.views),
            batch_size=self.batch_size,
            indices=indices,
            workers=workers,
            starts=starts,
            starts_of=self.model.views[starts_of] if starts_of else None,
        )

    def extract(
        self,
        weights: Mapping[str, Any],
        source: Source,
        indices: np.ndarray | None = None,
        workers: int = 0,
        starts: np.ndarray | None = None,
        starts_of: str = "",
        features_alone: bool = False,
    ) -> dict[str, Extracted]:
        """One pass over the source, or over some of it, for several sets of weights at once.

        starts: for each of `indices`, which may repeat, when the view `starts_of` begins; else centre windows.
        features_alone: whether to keep no outputs of heads and no geometry.
        """
        placed = {
            name: jax.device_put(variables, replicated(self.mesh))
            for name, variables in weights.items()
        }
        parts: dict[str, list[Extracted]] = {name: [] for name in placed}
        num_unreadable = 0
        with self.batches(source, indices, workers, starts, starts_of) as batches:
            for batch in batches:
                mask = batch.pop("mask")
                num_unreadable += int(np.sum(batch["fault"] >= 0))
                present = {
                    modality: batch["present"][read.view]
                    for modality, read in self.first_view.items()
                }
                geometry = {} if features_alone else batch["geometry"]
                known = batch["label"], batch["index"], present, geometry
                # Numbers and no mask, which copy in any case: the batch's memory is used again.
                rows = np.flatnonzero(mask)
                on_device = jax.device_put(batch, batch_sharding(self.mesh))
                for name, variables in placed.items():
                    found, said = self.forward(variables, on_device)
                    found, said = jax.device_get((found, {} if features_alone else said))
                    parts[name].append(Extracted(found, said, *known, 0).where(rows))
        return {name: joined(found, num_unreadable) for name, found in parts.items()}


def one_vector(embedding: jax.Array) -> jax.Array:
    """[batch, d]; of a view of several windows, their mean."""
    return embedding if embedding.ndim == 2 else embedding.mean(axis=1)


def concatenated(trees: list[Any]) -> Any:
    """Trees of arrays, leaf by leaf along the first axis."""
    return jax.tree.map(lambda *arrays: np.concatenate(arrays), *trees)


def joined(parts: list[Extracted], num_unreadable: int) -> Extracted:
    stacked = concatenated(
        [(p.embeddings, p.outputs, p.labels, p.index, p.present, p.geometry) for p in parts]
    )
    return Extracted(*stacked, num_unreadable=num_unreadable)
