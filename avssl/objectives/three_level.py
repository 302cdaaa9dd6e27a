"""Three levels: a student of one modality learns who it is from a teacher that hears and sees."""

from collections.abc import Mapping

import jax.numpy as jnp
from jax import Array

from avssl.errors import UsageError, unknown
from avssl.losses.angular_margin import additive_angular_margin
from avssl.losses.contrastive import unit_rows
from avssl.losses.three_level import DISTRIBUTIONS, three_level_loss
from avssl.models.cosine_classifier import CosineClassifier
from avssl.models.features import Features
from avssl.models.heads import ProjectionMLP
from avssl.objectives.base import Batch, Outcome, Outputs, Read, Target
from avssl.objectives.blocks import num_blocks
from avssl.objectives.student import StudentObjective


class ThreeLevel(StudentObjective):
    """Identities by angles with a margin + a label level + b embedding level + c distribution level.

    Zhang, Chen & Qian 2021 ("Knowledge Distillation from Multi-Modality to Single-Modality for Person
    Verification", Interspeech). No code is public and the text was not at hand: the levels are the paper's,
    their formulas (`losses/three_level.py`), the weights 1, the margin 0.2 and the scale 32 are our reading.

    The teacher is two frozen encoders, `audio_teacher` and `video_teacher` (names in `teachers`), made one as
    scores of voice and face usually are: its embedding is both embeddings, each of length 1, one after the
    other, and its logits are the mean of both. If both learnt with a margin (`supervised` with one) that mean
    is what a cosine classifier with both directions of each class gives for the joint embedding. A clip that
    either of them is silent of is not taught. One name empty: that of one modality alone; both: no teacher, the
    student alone.

    label_weight, embedding_weight, distribution_weight: of the levels; 0 leaves one out. distribution:
    `similarity`, or `moments` or `kernel`. embedding_head: a linear layer brings the student's embedding to
    the size of the teacher's for the embedding level, the moments and the kernel, else they must be of one
    size; what is verified is the student's own embedding. margin_warmup_steps: over which the margin grows
    from 0. Logits are `scale` times cosines without a margin, of the student as of its teacher; over
    `label_temperature` 4 they are cosines times 8. blocks: as of xid, for `similarity`.

    Departures: no attention or layer that learns to fuse both teachers; the student's classifier starts at
    random, not as its teacher's.
    """

    student: str = "audio"
    audio_teacher: str = "audio"
    video_teacher: str = "video"
    label_weight: float = 1.0
    embedding_weight: float = 1.0
    distribution_weight: float = 1.0
    distribution: str = "similarity"
    label_temperature: float = 4.0
    similarity_temperature: float = 0.1
    embedding_head: bool = True
    margin: float = 0.2
    scale: float = 32.0
    margin_warmup_steps: int = 0
    blocks: int | None = None

    def setup(self) -> None:
        if self.margin < 0 or self.scale <= 0:
            raise UsageError(
                f"{self.config_key} needs a margin of at least 0 and a scale above 0, not {self.margin} and "
                f"{self.scale}"
            )
        self.classifier = CosineClassifier(self.num_identities, dtype=self.dtype)
        if self.compares_sizes and self.embedding_head:
            self.student_head = ProjectionMLP((self.teacher_size,), dtype=self.dtype)

    @property
    def teachers(self) -> tuple[str, ...]:
        return tuple(name for name in (self.audio_teacher, self.video_teacher) if name)

    @property
    def kinds(self) -> tuple[str, ...]:
        """What each teacher is asked for."""
        if self.distribution not in DISTRIBUTIONS:
            raise unknown(f"{self.config_key}.distribution", self.distribution, DISTRIBUTIONS)
        embeddings = self.embedding_weight or self.distribution_weight
        asked = {"embedding": embeddings, "logits": self.label_weight}
        kinds = tuple(kind for kind, weight in asked.items() if weight)
        if self.teachers and not kinds:
            raise UsageError(
                f"{self.config_key} has teachers and no level: set label_weight, embedding_weight or "
                "distribution_weight, or audio_teacher and video_teacher to '' for the student alone"
            )
        return kinds if self.teachers else ()

    def targets(self) -> tuple[Target, ...]:
        return tuple(
            Target(name, kind, classes=kind == "logits")
            for name in self.teachers
            for kind in self.kinds
        )

    @property
    def num_identities(self) -> int:
        """The teachers' where the label level compares them, as their classes must be those of the labels."""
        if "logits" not in self.kinds:
            return self.num_classes
        sizes = {name: self.target_shapes[name]["logits"][-1] for name in self.teachers}
        if len(set(sizes.values())) > 1:
            told = " and ".join(f"'{name}' {size}" for name, size in sizes.items())
            raise UsageError(
                f"{self.config_key} needs teachers of the same identities: they have {told}"
            )
        return sizes[self.teachers[0]]

    @property
    def compares_sizes(self) -> bool:
        """Whether a level needs student and teacher of one size."""
        apart = self.distribution_weight and self.distribution != "similarity"
        return bool(self.kinds and (self.embedding_weight or apart))

    @property
    def teacher_size(self) -> int:
        return sum(self.target_shapes[name]["embedding"][-1] for name in self.teachers)

    def class_logits(self, embedding: Array, encoder: str) -> Array:
        return self.scale * self.classifier(embedding)

    def heads(self, features: Mapping[Read, Features], batch: Batch, *, train: bool) -> Outputs:
        student = features[self.student_read].embedding
        outputs = {
            self.student: student,
            "logits": self.class_logits(student, self.student_read.encoder),
        }
        if not self.compares_sizes:
            return outputs
        if self.embedding_head:
            return {**outputs, "answer": self.student_head(student, train=train)}
        if student.shape[-1] != self.teacher_size:
            raise UsageError(
                f"{self.config_key}.embedding_head=False compares embeddings of one size: the encoder "
                f"'{self.student_read.encoder}' gives {student.shape[-1]}, its teachers together "
                f"{self.teacher_size}"
            )
        return outputs

    def __call__(self, outputs: Outputs, batch: Batch, *, train: bool) -> Outcome:
        classification, metrics = additive_angular_margin(
            outputs["logits"] / self.scale, batch["label"], margin=self.margin_at(batch["step"]),
            scale=self.scale, present=self.both_present(batch),
        )  # fmt: skip
        metrics = {**metrics, "classification": classification}
        if not self.teachers:
            return Outcome(classification, metrics)
        blocks = num_blocks(self.blocks, batch, train=train, key=self.config_key)
        levels, found = self.levels(outputs, batch, blocks)
        metrics |= {key: found[key] for key in found if key != "num_rows"}
        return Outcome(classification + levels, {**metrics, "taught": found["num_rows"]})

    def margin_at(self, step: Array) -> Array:
        grown = (step + 1) / max(self.margin_warmup_steps, 1)
        return self.margin * jnp.minimum(grown, 1.0).astype(self.dtype)

    def levels(self, outputs: Outputs, batch: Batch, blocks: int) -> tuple[Array, dict[str, Array]]:
        said = [batch["targets"][name] for name in self.teachers]
        taught = self.both_present(batch)
        for name in self.teachers:
            taught &= self.taught_by(name, batch)
        nothing = jnp.zeros((len(taught), 1), self.dtype)
        embedding, logits = nothing, nothing
        if "embedding" in self.kinds:
            embedding = jnp.concatenate([unit_rows(one["embedding"]) for one in said], axis=1)
        if "logits" in self.kinds:
            logits = jnp.mean(jnp.stack([one["logits"] for one in said]), axis=0)
        return three_level_loss(
            outputs[self.student], embedding, outputs["logits"], logits,
            answer=outputs.get("answer"),
            label_weight=self.label_weight, embedding_weight=self.embedding_weight,
            distribution_weight=self.distribution_weight, distribution=self.distribution,
            label_temperature=self.label_temperature,
            similarity_temperature=self.similarity_temperature,
            index=batch["index"], present=taught, blocks=blocks,
        )  # fmt: skip
