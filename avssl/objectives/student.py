"""What objectives of distillation share: the student's side, and a classifier of its embedding."""

from collections.abc import Mapping

import jax.numpy as jnp
from jax import Array

from avssl.data.views import View
from avssl.errors import unknown
from avssl.objectives.base import Batch, Objective, Outputs, Read

MODALITIES = ("video", "audio")


class StudentObjective(Objective):
    """One encoder is taught; the other modality is its teachers' business. `setup` makes `classifier`."""

    student: str = "video"
    num_classes: int = 10

    @property
    def student_read(self) -> Read:
        if self.student not in MODALITIES:
            raise unknown(f"{self.config_key}.student", self.student, MODALITIES)
        return self.video_read if self.student == "video" else self.audio_read

    def views(self, table: Mapping[str, View]) -> dict[str, View]:
        return {self.student_read.view: table[self.student_read.view]}

    def reads(self) -> tuple[Read, ...]:
        return (self.student_read,)

    def both_present(self, batch: Batch) -> Array:
        return batch["present"][self.student_read.view]

    def taught_by(self, teacher: str, batch: Batch) -> Array:
        """bool [batch]: the rows that student and teacher both see."""
        return self.both_present(batch) & batch["taught"][teacher]

    @property
    def learns_labels(self) -> bool:
        return True

    def classifies(self, encoder: str) -> bool:
        return encoder == self.student_read.encoder

    def class_logits(self, embedding: Array, encoder: str) -> Array:
        return self.classifier(embedding)

    def label_logits(self, outputs: Outputs) -> dict[str, Array]:
        by_labels = self.classes_are_labels and self.classifies(self.student_read.encoder)
        return {self.student: outputs["logits"]} if by_labels else {}

    def clusters(self, outputs: Outputs) -> dict[str, Array]:
        if not self.classifies(self.student_read.encoder):
            return {}
        return {self.student: jnp.argmax(outputs["logits"], axis=-1)}
