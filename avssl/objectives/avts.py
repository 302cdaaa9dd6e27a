"""Audio-visual temporal synchronisation: does this sound belong to this moment?"""

import functools
import math
from collections.abc import Mapping
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax import Array

from avssl.data.views import View
from avssl.errors import UsageError, unknown
from avssl.losses.blocks import by_blocks
from avssl.losses.contrastive import root
from avssl.losses.margin import margin_of_distances, square_distances
from avssl.losses.precision import widen
from avssl.models.features import Features
from avssl.models.norm import BatchNorm
from avssl.objectives.base import Batch, Outcome, Outputs, Read
from avssl.objectives.blocks import num_blocks
from avssl.objectives.pairs import pairs_of_batch
from avssl.objectives.projected import ProjectedObjective

# What would tell the sounds of two views apart, whatever they are sounds of.
ALIKE = ("modality", "seconds", "rate", "channels", "windows")


class Avts(ProjectedObjective):
    """Matched pairs near, sounds of other videos and of other moments of the same video far away.

    Korbar, Tran & Torresani 2018 ("Cooperative Learning of Audio and Video Models from Self-Supervised
    Synchronization", arXiv 1807.00230): the contrastive margin loss of `losses/margin.py`, margin 0.99. There
    is no official code; what follows is as recalled, not verified.

    Half of the weight is on matched pairs. Of the negatives' half, `hard_fraction` is on the sound of the same
    video at another time (`shifted_view`, an audio view with `shift_seconds`: no overlap and half a second
    between), the rest on sounds of other videos (easy). `super_hard_view`, another such view, that begins less
    than its length away and so overlaps, takes half of the hard ones' share; the paper tells of these
    negatives, finds that they hurt, and does without. A row has one negative of each kind; with `all_negatives`
    the sounds of all other videos of the batch share the weight of its easy one, which encodes nothing more
    (`blocks` then takes the batch^2 pairs in so many parts, one after the other). The hard ones begin at
    `hard_from_step`, before which their sound is not even decoded: 0 trains with them from the start,
    `hard_fraction=0` never does; the paper takes 50 of 90 epochs of easy negatives first, then half of each. A
    clip without room for the shift has no hard negative, and the negatives then weigh less by it.

    Departures: each clip gives its positive, its easy and its hard pair, weighted, where the paper draws pairs
    of the three kinds. `normalise` scales embeddings to unit length: without it the initial scale of the last
    layer decides whether any negative lies within the margin. `by_moment` shows the head each
    moment of the encoders' maps (the maximum over space, or frequency) by itself and compares, side by side,
    what the moments of a clip share and how they differ: the one says what it is, the other when things happen.
    """

    shifted_view: str = "audio_shifted"
    super_hard_view: str = ""
    margin: float = 0.99
    normalise: bool = False
    hard_fraction: float = 0.5
    hard_from_step: int = 0
    all_negatives: bool = False
    projection: tuple[int, ...] = (512, 128)
    by_moment: bool = False
    blocks: int | None = None

    bounds: ClassVar[Mapping[str, tuple[float, float]]] = {
        "hard_fraction": (0, 1),
        "hard_from_step": (0, math.inf),
        "margin": (1e-6, math.inf),
    }

    def setup(self) -> None:
        super().setup()
        if self.by_moment and self.norm_heads:
            norm = functools.partial(BatchNorm, affine=False, dtype=self.dtype)
            self.video_norms, self.audio_norms = (norm(), norm()), (norm(), norm())

    @property
    def is_hard(self) -> bool:
        return self.hard_fraction > 0 and self.stage != 0

    @property
    def shifted_views(self) -> dict[str, str]:
        """The view of each kind of hard negative, by the name of its output."""
        kinds = {"shifted": self.shifted_view, "super_hard": self.super_hard_view}
        return {kind: view for kind, view in kinds.items() if view} if self.is_hard else {}

    def stage_steps(self) -> tuple[int, ...]:
        # Two borders at one step make a run that begins hard begin with the last stage.
        return (self.hard_from_step,) if self.hard_fraction > 0 else ()

    def views(self, table: Mapping[str, View]) -> dict[str, View]:
        views = super().views(table)
        if self.is_hard and not self.shifted_view:
            raise UsageError(
                f"{self.config_key} takes its hard negatives from a view of its own: name it in shifted_view, "
                "or set hard_fraction=0"
            )
        for name in self.shifted_views.values():
            if name not in table:
                raise unknown(f"view (asked for by {self.config_key})", name, table)
            views[name] = table[name]
            if not any(views[name].shift_seconds):
                raise UsageError(
                    f"{self.config_key} takes its hard negatives from the view '{name}': set "
                    f"views.{name}.shift_seconds, or {self.config_key}.hard_fraction=0"
                )
            self.check_alike(name, views)
        if self.is_hard:
            self.check_apart(self.shifted_view, views[self.shifted_view])
        return views

    def check_apart(self, name: str, view: View) -> None:
        """Refuses hard negatives that share a part of their positive's sound."""
        if view.shift_seconds[0] < view.seconds:
            raise UsageError(
                f"{self.config_key}: the sounds of '{name}' may begin {view.shift_seconds[0]:g} s away and so "
                f"overlap those in time: set views.{name}.shift_seconds to {view.seconds:g} s or more "
                "(super_hard_view takes those that overlap)"
            )

    def check_alike(self, name: str, views: Mapping[str, View]) -> None:
        """Refuses negatives that are told from positives by their form, and so teach nothing."""
        for key in ALIKE:
            found, wanted = (getattr(views[view], key) for view in (name, self.audio_view))
            if found != wanted:
                raise UsageError(
                    f"{self.config_key} compares the sounds of '{self.audio_view}' and '{name}', which must be "
                    f"alike: set views.{name}.{key}={wanted}, it is {found}"
                )

    def reads(self) -> tuple[Read, ...]:
        return (*super().reads(), *self.shifted_reads.values())

    @property
    def shifted_reads(self) -> dict[str, Read]:
        return {kind: Read(view, self.audio_encoder) for kind, view in self.shifted_views.items()}

    def heads(self, features: Mapping[Read, Features], batch: Batch, *, train: bool) -> Outputs:
        reads = {"video": self.video_read, "audio": self.audio_read, **self.shifted_reads}
        outputs = {}
        for name, read in reads.items():
            head = self.video_head if name == "video" else self.audio_head
            outputs[name] = head(self.shown(features, read), train=train)
        return self.compared_by_moment(outputs, train) if self.by_moment else outputs

    def shown(self, features: Mapping[Read, Features], read: Read) -> Array:
        """What the head gets of a read: [batch, channels], or [batch, moments, channels]."""
        if not self.by_moment:
            return features[read].embedding
        found = self.map_of(features, read, f"{self.config_key}.by_moment")
        return jnp.max(found, axis=tuple(range(2, found.ndim - 1)))

    def compared_by_moment(self, outputs: Outputs, train: bool) -> Outputs:
        """[batch, moments, d] to [batch, d + moments * d]: the mean, and what is beyond it, as large."""
        num_video, num_audio = (outputs[name].shape[1] for name in ("video", "audio"))
        if num_video != num_audio:
            raise UsageError(
                f"{self.config_key}.by_moment: the map of the video has {num_video} moments, that of the audio "
                f"{num_audio}: change the views, or the encoders' strides, until they agree"
            )

        def parted(name: str, moments: Array) -> Array:
            shared = jnp.mean(moments, axis=1, keepdims=True)
            beyond = moments - shared
            if self.norm_heads:
                shared_norm, beyond_norm = self.video_norms if name == "video" else self.audio_norms
                shared, beyond = shared_norm(shared, train=train), beyond_norm(beyond, train=train)
            parts = jnp.concatenate([num_video**0.5 * shared, beyond], axis=1)
            return parts.reshape(len(parts), -1)

        return {name: parted(name, moments) for name, moments in outputs.items()}

    def __call__(self, outputs: Outputs, batch: Batch, *, train: bool) -> Outcome:
        present = self.both_present(batch)
        easy = pairs_of_batch(
            self.make_rng("draw"), batch["index"], present, all_negatives=self.all_negatives
        )
        together, usable = easy.corresponds, easy.usable

        def of_pairs(rows: tuple[Array, Array, Array]) -> Array:
            video, audio, usable = rows
            return self.square_distances(outputs["video"][video], outputs["audio"][audio], usable)

        square = by_blocks(
            of_pairs,
            (easy.video, easy.audio, usable),
            blocks=num_blocks(self.blocks, batch, train=train, key=self.config_key),
        )
        hard_fraction = self.hard_fraction if self.is_hard else 0.0
        weights = jnp.where(together, 1.0, (1.0 - hard_fraction) * easy.weight)
        for kind, view in self.shifted_views.items():
            in_time = present & batch["present"][view]
            shifted = self.square_distances(outputs["video"], outputs[kind], in_time)
            share = jnp.full(present.shape, hard_fraction / len(self.shifted_views))
            square = jnp.concatenate([square, shifted])
            together = jnp.concatenate([together, jnp.zeros_like(present)])
            usable = jnp.concatenate([usable, in_time])
            weights = jnp.concatenate([weights, share])
        loss, metrics = margin_of_distances(
            square, together, margin=self.margin, present=usable, weights=weights
        )
        if self.is_hard:
            metrics["in_sync_top1"] = self.in_sync_top1(outputs, present, batch)
        return Outcome(loss, metrics)

    def square_distances(self, video: Array, audio: Array, present: Array) -> Array:
        return square_distances(video, audio, normalise=self.normalise, present=present)

    def similarity(self, video: Array, audio: Array) -> Array:
        """As the loss compares: cosines, or without `normalise` less the Euclidean distance."""
        if self.normalise:
            return super().similarity(video, audio)
        # Row by row: the differences of all pairs at once would not fit.
        return jax.lax.map(lambda one: self.row_similarity(one[None], audio), video)

    def row_similarity(self, video: Array, audio: Array) -> Array:
        if self.normalise:
            return super().row_similarity(video, audio)
        return -root(jnp.sum((widen(video) - widen(audio)) ** 2, axis=-1))

    def in_sync_top1(self, outputs: Outputs, present: Array, batch: Batch) -> Array:
        """How often the sound of the moment lies nearer than the shifted one; chance 50 %."""
        nearer = self.row_similarity(outputs["video"], outputs["audio"]) > self.row_similarity(
            outputs["video"], outputs["shifted"]
        )
        counted = present & batch["present"][self.shifted_view]
        share = jnp.sum(nearer & counted) / jnp.maximum(jnp.sum(counted), 1)
        return jax.lax.stop_gradient(share.astype(self.dtype))
