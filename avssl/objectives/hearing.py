"""What students share that find in a picture they do not see what they hear, as seeing teachers tell them."""

from collections.abc import Mapping

import jax.numpy as jnp
from jax import Array

from avssl.data.views import View
from avssl.losses.rows import mean_present
from avssl.losses.suppression import surest_boxes
from avssl.models.features import Features
from avssl.objectives.base import Batch, Outcome, Outputs, Read, Target
from avssl.objectives.detecting import DetectingObjective
from avssl.objectives.teacher_names import different_teachers


class HearingObjective(DetectingObjective):
    """A detector that hears learns the boxes of `teachers`.

    The boxes of all teachers whose score is above `teacher_score`, together, without those that a surer one
    of whatever class overlaps by more than `teacher_overlap`: at most `num_boxes` a picture. Boxes are in
    shares of the teachers' view, which the student does not see: it must not be cropped at random, and only be
    mirrored where the sound is (`views.AUDIO.mirrored_with`).

    Of the mean of two sounds (`data.mixup_weight=0.5`) the boxes of both clips are one such list.
    """

    teachers: tuple[str, ...] = ("teacher",)
    teacher_score: float = 0.3
    teacher_overlap: float = 0.5

    takes_mixtures = True
    takes_means_alone = True

    @property
    def detector_read(self) -> Read:
        return self.audio_read

    @property
    def places_view(self) -> str:
        return self.video_view

    def views(self, table: Mapping[str, View]) -> dict[str, View]:
        return {self.audio_view: table[self.audio_view]}

    @property
    def names(self) -> tuple[str, ...]:
        return different_teachers(f"{self.config_key}.teachers", self.teachers)

    def targets(self) -> tuple[Target, ...]:
        return tuple(
            Target(name, kind, classes=not self.agnostic, heard=self.audio_view)
            for name in self.names
            for kind in self.target_kinds
        )

    @property
    def target_kinds(self) -> tuple[str, ...]:
        return ("boxes",)

    def taught(self, batch: Batch) -> Array:
        """bool [batch]: the rows that are heard and that one of the teachers sees at least."""
        seen = jnp.stack([batch["taught"][name] for name in self.names])
        return self.both_present(batch) & jnp.any(seen, axis=0)

    def answered(self, batch: Batch) -> Array:
        return self.taught(batch)

    def unmixed(self, batch: Batch) -> Array:
        """bool [batch]: the rows that are of one clip."""
        taught = self.taught(batch)
        return taught & (batch["mixture"]["share"] == 1) if "mixture" in batch else taught

    def told(self, batch: Batch) -> Array:
        """The boxes of all teachers as one list a picture, [batch, num_boxes, 6]."""
        boxes = [batch["targets"][name]["boxes"] for name in self.names]
        if mixture := batch.get("mixture"):
            mixed = (mixture["share"] < 1)[:, None, None]
            boxes += [jnp.where(mixed, mixture["boxes"][name], 0) for name in self.names]
        listed = jnp.concatenate(boxes, axis=1)
        return surest_boxes(
            listed[..., :4],
            listed[..., 4],
            listed[..., 5],
            number=self.num_boxes,
            candidates=listed.shape[1],
            least_score=self.teacher_score,
            overlap=self.teacher_overlap,
            by_class=False,
        )

    def heads(self, features: Mapping[Read, Features], batch: Batch, *, train: bool) -> Outputs:
        heard, told = features[self.audio_read], self.told(batch)
        outputs = self.row_losses(
            self.said(heard),
            told[..., :4],
            told[..., 5].astype(jnp.int32),
            told[..., 4] > 0,
            self.taught(batch),
        )
        outputs["num_told"] = jnp.sum(told[..., 4] > 0, axis=1).astype(self.dtype)
        return outputs if train else {**outputs, "boxes": self.boxes(heard)}

    def told_outcome(self, outputs: Outputs, batch: Batch) -> Outcome:
        """The loss of the boxes, over the rows that are taught, and how much they are told."""
        taught = self.taught(batch)
        outcome = self.detection_outcome(outputs, taught)
        return Outcome(
            outcome.loss,
            {
                **outcome.metrics,
                "num_told_boxes": mean_present(outputs["num_told"], taught),
                "taught": jnp.sum(taught).astype(self.dtype),
            },
        )
