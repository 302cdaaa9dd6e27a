"""Compositional contrastive learning: a student and teachers that may disagree, brought together by class."""

from collections.abc import Mapping

import flax.linen as nn
from jax import Array

from avssl.errors import UsageError
from avssl.losses.composition import TEMPERATURES, Branch, compositional_loss
from avssl.models.composition import Composition
from avssl.models.features import Features
from avssl.objectives.base import Batch, Outcome, Outputs, Read, Target
from avssl.objectives.blocks import num_blocks
from avssl.objectives.student import StudentObjective


class Ccl(StudentObjective):
    """The student's labels, and for each teacher a composition of both that learns the labels as well.

    Chen, Xian, Koepke, Shan & Akata 2021 (CVPR, "Distilling Audio-Visual Knowledge by Compositional
    Contrastive Learning", arXiv 2104.10955; code: yanbeic/CCL). The loss, with the order of its two backward
    passes, is `losses/composition.py`; the composition m = t + linear([t / |t|; v / |v|]) is
    `models/composition.py`. Teachers are asked for embeddings as wide as the student's (512 as published).

    audio_teacher, image_teacher: names in `teachers`, at least one; empty is without it.
    audio_temperature, image_temperature: of the contrastive terms, 0.5 and 0.1 as released.
    distillation_weight: of the distilling terms in the student's loss; None is 1 for one teacher and 0.5 for
    two, as released. blocks: as of xid.

    Departures: clips that lack the student's modality, a label, or a teacher leave the terms that need it
    (the code leaves out silent clips only); the compositions are trained by the run's optimiser and schedule,
    where the code gives each an SGD of its own whose rate never falls (`optimizer.rules` may do the same).
    """

    audio_teacher: str = "teacher"
    image_teacher: str = ""
    audio_temperature: float = TEMPERATURES["audio"]
    image_temperature: float = TEMPERATURES["image"]
    distillation_weight: float | None = None
    blocks: int | None = None

    def setup(self) -> None:
        self.compositions = {
            side: Composition(self.num_classes, dtype=self.dtype) for side in self.teachers
        }
        self.classifier = nn.Dense(self.num_classes, dtype=self.dtype, param_dtype=self.dtype)

    @property
    def teachers(self) -> dict[str, str]:
        """The name of each teacher by its side, `audio` or `image`."""
        named = {"audio": self.audio_teacher, "image": self.image_teacher}
        found = {side: name for side, name in named.items() if name}
        if not found:
            raise UsageError(
                f"{self.config_key} needs a teacher: name one in audio_teacher or image_teacher"
            )
        return found

    def targets(self) -> tuple[Target, ...]:
        return tuple(Target(name, "embedding") for name in self.teachers.values())

    def heads(self, features: Mapping[Read, Features], batch: Batch, *, train: bool) -> Outputs:
        student = features[self.student_read].embedding
        outputs = {self.student: student, "logits": self.classifier(student)}
        for side, name in self.teachers.items():
            teacher = batch["targets"][name]["embedding"]
            self.check_widths(student, teacher, name)
            composed = self.compositions[side](teacher, student, self.taught_by(name, batch))
            outputs |= {f"{side}_{key}": value for key, value in composed.items()}
        return outputs

    def check_widths(self, student: Array, teacher: Array, name: str) -> None:
        if student.shape[-1] != teacher.shape[-1]:
            raise UsageError(
                f"{self.config_key} compares embeddings of one width: the encoder "
                f"'{self.student_read.encoder}' gives {student.shape[-1]}, the teacher '{name}' "
                f"{teacher.shape[-1]}"
            )

    def branch(self, side: str, name: str, outputs: Outputs, batch: Batch) -> Branch:
        prefix = f"{side}_"
        composed = {
            key.removeprefix(prefix): value
            for key, value in outputs.items()
            if key.startswith(prefix)
        }
        teacher = batch["targets"][name]["embedding"]
        return {**composed, "teacher": teacher, "present": self.taught_by(name, batch)}

    def __call__(self, outputs: Outputs, batch: Batch, *, train: bool) -> Outcome:
        loss, metrics = compositional_loss(
            outputs[self.student],
            outputs["logits"],
            batch["label"],
            {side: self.branch(side, name, outputs, batch) for side, name in self.teachers.items()},
            present=self.both_present(batch),
            temperatures={"audio": self.audio_temperature, "image": self.image_temperature},
            distillation_weight=self.distillation_weight,
            blocks=num_blocks(self.blocks, batch, train=train, key=self.config_key),
        )
        return Outcome(loss, metrics)
