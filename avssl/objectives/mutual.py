"""Mutual learning: a teacher that hears and sees, and a student of one modality, from scratch and at once."""

from collections.abc import Mapping

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from avssl.data.views import View
from avssl.errors import UsageError
from avssl.losses.mutual import mutual_loss
from avssl.models.features import Features
from avssl.models.heads import ProjectionMLP
from avssl.objectives.base import Batch, Objective, Outcome, Outputs, Owned, Read
from avssl.objectives.student import StudentObjective
from avssl.objectives.tags import UNKNOWN, tags_as_memory


class Mutual(StudentObjective):
    """Tags of both + a single-modal term, student and teacher's own branch + b cross-modal, the tags of both.

    Yin et al. 2021 ("Enhanced Audio Tagging via Multi- to Single-Modal Teacher-Student Mutual Learning", AAAI).
    No code is public and the text was not at hand: the two transfer terms are the abstract's, their form
    (`losses/mutual.py`), the weights 1 and the sizes are our reading. The paper's student hears;
    `student="video"` is the same with the modalities exchanged.

    The student is `audio_encoder`, its tags a linear layer. The teacher has a branch of the same modality,
    `teacher_encoder`, an encoder of its own as wide as the student's, and the other modality's encoder
    (`video_encoder`); an MLP of one hidden layer of `fusion_width` on both embeddings gives its tags. A clip
    has one class or several (`truth["classes"]`), which are learnt from the data once at the start: a byte a
    record and class. The transfer begins after `transfer_warmup_steps`, before which each learns from labels
    alone.

    one_way: the teacher learns from labels alone, the student from both: plain distillation, for comparison.
    single_modal_weight=0, cross_modal_weight=0: without that term; both: the student alone.

    A clip without the other modality leaves the teacher's tags and the cross-modal term, and one of which
    nobody said which classes it has the cross-entropies; a tag that is not known is no
    part of them. Departures: both sides step at once by one optimiser; no pooling by attention over time but
    the encoders' own.
    """

    student: str = "audio"
    teacher_encoder: str = "teacher"
    fusion_width: int = 512
    single_modal_weight: float = 1.0
    cross_modal_weight: float = 1.0
    transfer_warmup_steps: int = 0
    one_way: bool = False

    refresh_tags = True

    def setup(self) -> None:
        self.require_records(1, "the tags of each")
        self.classifier = nn.Dense(self.num_classes, dtype=self.dtype, param_dtype=self.dtype)
        widths = (self.fusion_width, self.num_classes)
        self.fusion = ProjectionMLP(widths, dtype=self.dtype)
        rows = (self.num_records, self.num_classes)
        self.tags = self.variable("memory", "tags", jnp.full, rows, UNKNOWN, jnp.int8)

    @property
    def branch_read(self) -> Read:
        """The teacher's branch for the student's modality."""
        own = self.student_read
        if self.teacher_encoder in (self.audio_encoder, self.video_encoder):
            raise UsageError(
                f"{self.config_key}.teacher_encoder is '{self.teacher_encoder}', which is an encoder of the "
                f"student or of the other modality: name another one of {self.student}"
            )
        return Read(own.view, self.teacher_encoder)

    @property
    def other_read(self) -> Read:
        """The teacher's branch for the other modality."""
        return self.audio_read if self.student == "video" else self.video_read

    def views(self, table: Mapping[str, View]) -> dict[str, View]:
        return Objective.views(self, table)

    def needed_views(self, table: Mapping[str, View]) -> dict[str, View]:
        return super().views(table)

    def views_of_some(self, table: Mapping[str, View]) -> dict[str, View]:
        """Without both there is no teacher, which the student alone does not miss."""
        transfers = self.single_modal_weight or self.cross_modal_weight
        return self.views(table) if transfers else self.needed_views(table)

    def reads(self) -> tuple[Read, ...]:
        # The student's first: of each modality the first read is what an evaluation looks at.
        return (self.student_read, self.other_read, self.branch_read)

    @property
    def learns_labels(self) -> bool:
        """Its tags are looked for when they are read."""
        return False

    def classifies(self, encoder: str) -> bool:
        """Its logits are of tags, each by itself, where those of a teacher of classes add up by a softmax."""
        return False

    def heads(self, features: Mapping[Read, Features], batch: Batch, *, train: bool) -> Outputs:
        student, other, branch = (features[read].embedding for read in self.reads())
        if student.shape != branch.shape:
            raise UsageError(
                f"{self.config_key} compares embeddings of one width: the encoder "
                f"'{self.student_read.encoder}' gives {student.shape[-1]}, '{self.teacher_encoder}' "
                f"{branch.shape[-1]}"
            )
        return {
            self.student: student,
            "branch": branch,
            "logits": self.classifier(student),
            "teacher_logits": self.fusion(jnp.concatenate([branch, other], axis=1), train=train),
        }

    def __call__(self, outputs: Outputs, batch: Batch, *, train: bool) -> Outcome:
        tags = self.tags.value[batch["index"]]
        begun = (batch["step"] >= self.transfer_warmup_steps).astype(self.dtype)
        loss, metrics = mutual_loss(
            outputs["logits"], outputs["teacher_logits"], outputs[self.student], outputs["branch"],
            (tags > 0).astype(self.dtype),
            single_modal_weight=self.single_modal_weight * begun,
            cross_modal_weight=self.cross_modal_weight * begun,
            one_way=self.one_way,
            student_present=self.both_present(batch),
            other_present=batch["present"][self.other_read.view],
            known=tags != UNKNOWN,
        )  # fmt: skip
        return Outcome(loss, metrics)

    def refresh_due(self, step: int) -> bool:
        """The tags of the data, once."""
        return step == 0

    def refresh(self, owned: Owned, kept: Outputs, seen: Array, step: int, key: Array) -> Owned:
        tags = tags_as_memory(kept["tags"], self.num_classes, self.config_key)
        return Owned(owned.params, {**owned.memory, "tags": tags})

    def clusters(self, outputs: Outputs) -> dict[str, Array]:
        """The likeliest tag: the class, of clips that have one."""
        return {
            name: jnp.argmax(logits, axis=-1) for name, logits in self.tag_logits(outputs).items()
        }

    def tag_logits(self, outputs: Outputs) -> dict[str, Array]:
        return {self.student: outputs["logits"], "joint": outputs["teacher_logits"]}

    def can_say(self, batch: Batch, who: str) -> Array:
        """The teacher needs both."""
        there = self.both_present(batch)
        return there & batch["present"][self.other_read.view] if who == "joint" else there
