"""Ambient sound: a network that sees learns to predict what the sound around a picture is like on average."""

import functools
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import Mesh

from avssl.data.views import View
from avssl.errors import UsageError, unknown
from avssl.losses.kmeans import kmeans, nearest_centroid, plus_plus_rows
from avssl.losses.precision import dot
from avssl.losses.pseudo_labels import pseudo_label_loss
from avssl.losses.sound_codes import binary_code_loss, fit_scales, principal_components
from avssl.models.features import Features
from avssl.objectives.base import Batch, Objective, Outcome, Outputs, Owned, Read
from avssl.objectives.labels import (
    NO_LABEL,
    cluster_sizes,
    mesh_of,
    require_fewer_clusters,
    size_metrics,
    whole,
)
from avssl.signal.texture import SoundTexture

FORMS = ("cluster", "binary", "spectrum")


class Ambient(Objective):
    """A picture's embedding names the cluster, or the binary code, of the texture of its sound.

    Owens, Wu, McDermott, Freeman & Torralba 2016 ("Ambient Sound Provides Supervision for Visual Learning",
    ECCV, arXiv 1608.07017; the training code is not public, so what follows is as recalled, not verified).
    form: `cluster`, softmax cross-entropy of the nearest of `num_clusters` (30) centroids of k-means; `binary`,
    the sum of sigmoid cross-entropies of the signs of the first `num_components` (30) principal components;
    `spectrum`, the baseline, the same of the first group alone, the mean cochleagram.

    The statistics are the embedding of `audio_encoder`: an `identity_audio` with the front end `texture`.
    groups: how many numbers each kind of statistic has there, the first of them the mean cochleagram, the last
    the loudness; 502 in all. Before the first step they are taken of the middle of every record and the
    codebook is fitted: the mean, a scale for each group that gives all of them the same variance, and centroids
    or components. It lies in `memory` and never changes.
    silence: the loudness up to which a clip has no target; noise of one step of 16 bits has 0.14.
    every_window: each step hears the sound of its own windows, as published. False gives each record one target
    for good, that of its middle: from the second step on no sound is decoded, and a step costs no texture.

    Departures: each group is scaled as fitted, mean and deviation apart, where the paper scales by the number
    of dimensions. Clips that lack picture or sound, and silent ones, are left out, and counted. One window a
    record is clustered, where the paper takes several frames of a video.
    """

    form: str = "cluster"
    num_clusters: int = 30
    num_components: int = 30
    groups: tuple[int, ...] = tuple(SoundTexture().sizes.values())
    silence: float = 0.15
    every_window: bool = True
    kmeans_iterations: int = 100

    refresh_pass = True

    def setup(self) -> None:
        self.check()
        outputs, width = self.num_outputs, self.width
        self.predict = nn.Dense(outputs, dtype=self.dtype, param_dtype=self.dtype)
        self.mean = self.variable("memory", "mean", jnp.zeros, (width,), self.dtype)
        self.scale = self.variable("memory", "scale", jnp.zeros, (width,), self.dtype)
        name, shape = (
            ("centroids", (outputs, width)) if self.clusters_sounds else ("basis", (width, outputs))
        )
        self.code = self.variable("memory", name, jnp.zeros, shape, self.dtype)
        if self.clusters_sounds:
            self.sizes = self.variable("memory", "sizes", jnp.zeros, (outputs,), jnp.int32)
        if not self.every_window:
            rows = (self.num_records,) if self.clusters_sounds else (self.num_records, outputs)
            kind = jnp.int32 if self.clusters_sounds else jnp.int8
            self.kept = self.variable("memory", "targets", jnp.full, rows, NO_LABEL, kind)

    def check(self) -> None:
        key = self.config_key
        if self.form not in FORMS:
            raise unknown(f"{key}.form", self.form, FORMS)
        if self.kmeans_iterations < 1 or len(self.groups) < 2 or min(self.groups) < 1:
            raise UsageError(
                f"{key}: kmeans_iterations must be at least 1, and groups two numbers or more, each at least 1"
            )
        if self.clusters_sounds:
            require_fewer_clusters(
                key, self.num_records, self.num_clusters,
                f"set {key}.num_clusters to fewer, or take data with more records",
            )  # fmt: skip
            return
        if not 1 <= self.num_components <= self.width:
            raise UsageError(
                f"{key}.num_components must lie between 1 and the {self.width} statistics that the form "
                f"'{self.form}' takes, not {self.num_components}"
            )
        if self.num_records <= self.num_components:
            raise UsageError(
                f"{key} takes {self.num_components} principal components of more records than that, but "
                f"data.num_records is {self.num_records}: set {key}.num_components to fewer, or take more data"
            )

    @property
    def clusters_sounds(self) -> bool:
        return self.form == "cluster"

    @property
    def num_outputs(self) -> int:
        return self.num_clusters if self.clusters_sounds else self.num_components

    @property
    def width(self) -> int:
        """How many of the statistics are coded."""
        return self.groups[0] if self.form == "spectrum" else sum(self.groups)

    @property
    def coded_groups(self) -> tuple[int, ...]:
        return self.groups[:1] if self.form == "spectrum" else tuple(self.groups)

    @property
    def hears(self) -> bool:
        """Whether the sound is read: without a target for each window, until the codebook is there."""
        return self.every_window or self.stage in (None, 0)

    def stage_steps(self) -> tuple[int, ...]:
        return () if self.every_window else (1,)

    @property
    def audio_read(self) -> Read:
        return Read(self.audio_view, self.audio_encoder, mode="eval")

    def views(self, table: Mapping[str, View]) -> dict[str, View]:
        names = (self.video_view, self.audio_view) if self.hears else (self.video_view,)
        return {name: table[name] for name in names}

    def reads(self) -> tuple[Read, ...]:
        return (self.video_read, self.audio_read) if self.hears else (self.video_read,)

    def both_present(self, batch: Batch) -> Array:
        """Without a target for each window a clip needs no sound but in the pass over the data."""
        return (
            super().both_present(batch) if self.every_window else batch["present"][self.video_view]
        )

    def heads(self, features: Mapping[Read, Features], batch: Batch, *, train: bool) -> Outputs:
        picture = features[self.video_read].embedding
        outputs = {"video": picture, "logits": self.predict(picture)}
        return outputs | (self.texture(features) if self.hears else {})

    def texture(self, features: Mapping[Read, Features]) -> Outputs:
        """The statistics that are coded, and the loudness."""
        found = features[self.audio_read].embedding
        if found.ndim != 2 or found.shape[1] != sum(self.groups):
            raise UsageError(
                f"{self.config_key}.groups has {sum(self.groups)} statistics of a sound, and the encoder "
                f"'{self.audio_encoder}' gives {found.shape[1:]}: take an 'identity_audio' with the front end "
                "'texture', one window, and the sizes of its groups"
            )
        return {"texture": found[:, : self.width], "loudness": found[:, -1]}

    def __call__(self, outputs: Outputs, batch: Batch, *, train: bool) -> Outcome:
        present = self.both_present(batch)
        if self.every_window:
            taught = present & (outputs["loudness"] > self.silence)
            target = self.coded(outputs["texture"], taught)
        else:
            target = self.kept.value[batch["index"]]
            taught = present & (target >= 0 if self.clusters_sounds else target[:, 0] >= 0)
        metrics = {
            "taught": jnp.sum(taught).astype(self.dtype),
            "without_target": jnp.sum(present & ~taught).astype(self.dtype),
        }
        if self.clusters_sounds:
            loss, found = pseudo_label_loss(outputs["logits"], target, present=taught)
            metrics |= {"accuracy": found["accuracy"], **size_metrics(self.sizes.value, self.dtype)}
        else:
            loss, found = binary_code_loss(outputs["logits"], target > 0, present=taught)
            metrics |= found
        return Outcome(loss, metrics)

    def coded(self, texture: Array, heard: Array) -> Array:
        """The cluster of each row, [batch], or its bits as 0 and 1, [batch, bits]."""
        scaled = (texture - self.mean.value[None]) * self.scale.value[None]
        if self.clusters_sounds:
            return nearest_centroid(scaled, self.code.value, present=heard)[0]
        return (dot(scaled, self.code.value) > 0).astype(jnp.int8)

    def clusters(self, outputs: Outputs) -> dict[str, Array]:
        """What the pictures say; binary codes are no clusters."""
        return {"video": jnp.argmax(outputs["logits"], axis=1)} if self.clusters_sounds else {}

    def refresh_due(self, step: int) -> bool:
        return step == 0

    def refresh_outputs(self, features: Mapping[Read, Features], batch: Batch) -> Outputs:
        found = self.texture(features)
        heard = batch["present"][self.audio_view] & (found["loudness"] > self.silence)
        return {"texture": found["texture"], "heard": heard}

    def refresh(self, owned: Owned, kept: Outputs, seen: Array, step: int, key: Array) -> Owned:
        """The codebook of all sounds, once."""
        book, targets, num_heard = fit(
            key, kept["texture"], kept["heard"] & seen,
            form=self.form, groups=self.coded_groups, num_outputs=self.num_outputs,
            num_records=self.num_records, max_iterations=self.kmeans_iterations,
            mesh=mesh_of(kept["texture"]),
        )  # fmt: skip
        self.check_heard(int(num_heard))
        memory: dict[str, Any] = {**owned.memory, **book}
        if not self.every_window:
            memory["targets"] = targets.astype(owned.memory["targets"].dtype)
        return Owned(owned.params, memory)

    def check_heard(self, num_heard: int) -> None:
        """Fewer sounds than clusters, or no more than components, fit no codebook."""
        name = "num_clusters" if self.clusters_sounds else "num_components"
        if num_heard < self.num_outputs + (not self.clusters_sounds):
            what = "clusters" if self.clusters_sounds else "principal components"
            raise UsageError(
                f"{self.config_key} cannot make {self.num_outputs} {what} of the {num_heard} records that "
                f"have a sound and could be read: set {self.config_key}.{name} to fewer"
            )


@functools.partial(
    jax.jit,
    static_argnames=("form", "groups", "num_outputs", "num_records", "max_iterations", "mesh"),
)
def fit(
    key: Array,
    texture: Array,
    heard: Array,
    *,
    form: str,
    groups: tuple[int, ...],
    num_outputs: int,
    num_records: int,
    max_iterations: int,
    mesh: Mesh | None,
) -> tuple[dict[str, Array], Array, Array]:
    """(the codebook, the target of each record or -1, how many records are heard)."""
    mean, scale = fit_scales(texture, groups, present=heard)
    # Rows that nobody has filled may be anything.
    scaled = jnp.where(heard[:, None], (texture - mean[None]) * scale[None], 0.0)
    book = {"mean": mean, "scale": scale}
    if form == "cluster":
        initial = plus_plus_rows(key, scaled, num_outputs, present=heard)
        found = kmeans(scaled, initial, present=heard, max_iterations=max_iterations)
        targets = found["labels"]
        book |= {
            "centroids": found["centroids"],
            "sizes": cluster_sizes(targets[:num_records], num_outputs),
        }
    else:
        book["basis"] = principal_components(scaled, num_outputs, present=heard)
        bits = (dot(scaled, book["basis"]) > 0).astype(jnp.int8)
        targets = jnp.where(heard[:, None], bits, NO_LABEL)
    book, num_heard = whole((book, jnp.sum(heard)), mesh)
    return book, targets[:num_records], num_heard
