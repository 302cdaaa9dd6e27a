"""Distillation: a student learns what a frozen teacher says of the same clip, and the labels if it likes."""

from collections.abc import Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from avssl.errors import UsageError, unknown
from avssl.losses.hints import pool_to_smaller
from avssl.losses.pseudo_labels import pseudo_label_loss
from avssl.models.features import Features
from avssl.models.heads import ProjectionMLP
from avssl.models.regressors import HintRegressor, VariationalRegressor
from avssl.objectives.base import Batch, Outcome, Outputs, Read, Target
from avssl.objectives.blocks import num_blocks
from avssl.objectives.student import StudentObjective
from avssl.objectives.teacher_names import different_teachers, names_of
from avssl.objectives.transfers import BATCH_LOSSES, KINDS, PUBLISHED_WEIGHTS, RELATIONS, ROW_LOSSES


class Distill(StudentObjective):
    """label_weight * cross-entropy of the labels + transfer_weight * a transfer loss of the teachers' targets.

    The form and the weights of RepDistiller (Tian, Krishnan & Isola 2020, arXiv 1910.10699), where every
    method is gamma * CE + alpha * KD + beta * X with X one of the losses below and alpha 0 for all but KD.

    loss: `kd` logits over `temperature` (Hinton et al. 2015); `hint` the teacher's embedding by a linear
    layer (Gupta et al. 2016), or its map by FitNets' regressor (`kind="map"`); `at` attention of maps, `nst`
    what their channels are selective to, `vid` the likelihood of the teacher's by a regressor that says how
    sure it is; `sp`, `pkt`, `rkd`, `ifd` relations of the rows' embeddings; `cc` the same, as released,
    between two linear layers of `embedding_width`, the teacher's trained as well, and `kernel_cc` as its paper
    has it, of the embeddings. Each is described in `avssl/losses`.
    student: the modality of the student. also: further teachers than `teacher`. The transfer is the mean over
    teachers of the loss of each, on the clips that it taught and with layers of its own; the classifier is one,
    so logits (`kd`) must be of the same classes. kind: what teachers are asked for; empty: what the loss takes.
    label_weight, transfer_weight: None is as published for the loss. With labels, the classes of the
    teacher's logits must be those of the data; with label_weight=0 they may be any. blocks: as of xid, of
    those that compare rows: `sp`, `pkt`, `rkd`, `ifd` and `kernel_cc`; the angles of `rkd` are batch^3 and need
    it above a few hundred rows.

    Departures: student and teacher may be of different modalities, so the transfer leaves out clips that lack
    either, and the labels those that lack the student's. One stage where AT, NST, VID, IFD and FitNets may take
    several; IFD (Passalis et al. 2020) has no labels in its own code, and its last layer's weight here. SP
    is released on the last map and is of embeddings here: its matrix of the batch would need all maps in one
    place. PKT, RKD and CC are of embeddings there, too.
    """

    loss: str = "kd"
    teacher: str = "teacher"
    also: tuple[str, ...] = ()
    kind: str = ""
    temperature: float = 4.0
    embedding_width: int = 128
    label_weight: float | None = None
    transfer_weight: float | None = None
    blocks: int | None = None

    without_labels: ClassVar[str] = "label_weight=0"

    def setup(self) -> None:
        shapes = {name: self.target_shapes[name][self.target_kind] for name in self.teachers}
        for name, shape in shapes.items():
            for part, layers in self.layers_beside(shape).items():
                setattr(self, self.own(part, name), layers)
        num_logits = self.num_classes
        if self.loss == "kd":
            numbers = {name: shape[-1] for name, shape in shapes.items()}
            num_logits = numbers[self.teacher]
            if set(numbers.values()) != {num_logits}:
                raise UsageError(
                    f"{self.config_key} answers all its teachers by one classifier, and they know "
                    f"{', '.join(f'{number} ({name})' for name, number in numbers.items())} classes: name "
                    "teachers of the same"
                )
        self.classifier = nn.Dense(num_logits, dtype=self.dtype, param_dtype=self.dtype)

    def layers_beside(self, shape: tuple[int, ...]) -> dict[str, nn.Module]:
        """What is learnt beside the classifier for a teacher whose targets have this shape."""
        if self.target_kind == "map":
            if self.loss == "hint":
                return {"regressor": HintRegressor(shape, dtype=self.dtype)}
            if self.loss == "vid":
                return {"regressor": VariationalRegressor(shape[-1], dtype=self.dtype)}
        elif self.loss == "hint":
            return {"student_head": ProjectionMLP((shape[-1],), dtype=self.dtype)}
        elif self.loss == "cc":
            return {
                "student_head": ProjectionMLP((self.embedding_width,), dtype=self.dtype),
                "teacher_head": ProjectionMLP((self.embedding_width,), dtype=self.dtype),
            }
        return {}

    @property
    def teachers(self) -> tuple[str, ...]:
        names = (self.teacher, *names_of(self.also))
        return different_teachers(f"{self.config_key}.teacher and .also", names)

    def own(self, part: str, teacher: str) -> str:
        """The name of what a teacher has for itself: the first one's is that of the part."""
        return part if teacher == self.teacher else f"{part}_{teacher}"

    @property
    def target_kind(self) -> str:
        if self.loss not in PUBLISHED_WEIGHTS:
            raise unknown(f"{self.config_key}.loss", self.loss, PUBLISHED_WEIGHTS)
        allowed = KINDS.get(self.loss, ("embedding",))
        kind = self.kind or allowed[0]
        if kind not in allowed:
            raise UsageError(
                f"{self.config_key}.kind: the loss '{self.loss}' takes {' or '.join(allowed)}, not '{kind}'"
            )
        return kind

    @property
    def weights(self) -> tuple[float, float]:
        """Of the labels and of the transfer."""
        labels, transfer = PUBLISHED_WEIGHTS[self.loss]
        return (
            labels if self.label_weight is None else self.label_weight,
            transfer if self.transfer_weight is None else self.transfer_weight,
        )

    def targets(self) -> tuple[Target, ...]:
        kind = self.target_kind
        first, *others = self.teachers
        classes = kind == "logits" and self.learns_labels
        like = first if kind == "logits" else ""
        return (
            Target(first, kind, classes),
            *(Target(name, kind, classes, like) for name in others),
        )

    @property
    def learns_labels(self) -> bool:
        return self.weights[0] > 0

    def classifies(self, encoder: str) -> bool:
        return super().classifies(encoder) and (self.loss == "kd" or self.learns_labels)

    @property
    def classes_are_labels(self) -> bool:
        """Without labels the columns are those of its own teacher, whose names the run does not keep."""
        return self.learns_labels

    def heads(self, features: Mapping[Read, Features], batch: Batch, *, train: bool) -> Outputs:
        student = features[self.student_read]
        outputs = {self.student: student.embedding, "logits": self.classifier(student.embedding)}
        for name in self.teachers:
            said = self.answers(name, features, batch, train=train)
            outputs |= {self.own(part, name): value for part, value in said.items()}
        return outputs

    def answers(
        self, teacher: str, features: Mapping[Read, Features], batch: Batch, *, train: bool
    ) -> Outputs:
        """What is compared with one teacher beyond embedding and logits."""
        student, target = features[self.student_read], batch["targets"][teacher][self.target_kind]
        if self.target_kind == "map":
            answer = self.student_map(features, teacher).astype(self.dtype)
            return {"row_losses": self.row_losses(teacher, answer, target, batch, train=train)}
        if self.loss not in ("hint", "cc"):
            return {}
        head = getattr(self, self.own("student_head", teacher))
        said = {"answer": head(student.embedding, train=train)}
        if self.loss == "cc":
            said["target"] = getattr(self, self.own("teacher_head", teacher))(target, train=train)
        return said

    def student_map(self, features: Mapping[Read, Features], teacher: str) -> Array:
        setting = f"{self.config_key}.loss={self.loss}"
        found = self.map_of(features, self.student_read, setting)
        shape = self.target_shapes[teacher]["map"]
        if found.ndim - 1 != len(shape):
            raise UsageError(
                f"{setting} compares maps of equally many axes, and that of the encoder "
                f"'{self.student_read.encoder}' is {found.shape[1:]}, that of the teacher "
                f"'{teacher}' {tuple(shape)}: take a loss of embeddings (hint, sp, pkt, rkd, ifd, cc, "
                "kernel_cc)"
            )
        return found

    def row_losses(
        self, teacher: str, answer: Array, target: Array, batch: Batch, *, train: bool
    ) -> Array:
        """The loss of each row by itself, [batch]; their mean is the loss of the batch."""
        variance: list[Array] = []
        if self.loss == "hint":
            answer = getattr(self, self.own("regressor", teacher))(answer, train=train)
        elif self.loss == "vid":
            # As released, before the regressor.
            answer, target = pool_to_smaller(answer, target)
            answer, *variance = getattr(self, self.own("regressor", teacher))(answer)

        def of_row(answer: Array, target: Array, present: Array) -> Array:
            loss = ROW_LOSSES[self.loss]
            return loss(answer[None], target[None], *variance, present=present[None])

        return jax.vmap(of_row)(answer, target, self.taught_by(teacher, batch))

    def __call__(self, outputs: Outputs, batch: Batch, *, train: bool) -> Outcome:
        blocks = num_blocks(self.blocks, batch, train=train, key=self.config_key)
        transfers = {name: self.transfer(name, outputs, batch, blocks) for name in self.teachers}
        transfer = jnp.mean(jnp.stack(list(transfers.values())))
        told = {"transfer": transfer}
        for name, of_teacher in transfers.items():
            taught = jnp.sum(self.taught_by(name, batch)).astype(self.dtype)
            if len(transfers) == 1:
                told["taught"] = taught
            else:
                told |= {f"{name}_transfer": of_teacher, f"{name}_taught": taught}
        label_weight, transfer_weight = self.weights
        if not self.learns_labels:
            return Outcome(transfer_weight * transfer, told)
        label_loss, metrics = pseudo_label_loss(
            outputs["logits"], batch["label"], present=self.both_present(batch)
        )
        loss = label_weight * label_loss + transfer_weight * transfer
        return Outcome(loss, {**metrics, **told, "label_loss": label_loss})

    def transfer(self, teacher: str, outputs: Outputs, batch: Batch, blocks: int) -> Array:
        present = self.taught_by(teacher, batch)
        if self.target_kind == "map":
            # A row that is not transferred has the loss 0 of no row.
            row_losses = outputs[self.own("row_losses", teacher)]
            return jnp.sum(row_losses) / jnp.maximum(jnp.sum(present), 1)
        answer = outputs["logits" if self.loss == "kd" else self.student]
        answer = outputs.get(self.own("answer", teacher), answer)
        said = batch["targets"][teacher].get(self.target_kind)
        target = outputs.get(self.own("target", teacher), said)
        arguments: dict[str, Any] = {"temperature": self.temperature} if self.loss == "kd" else {}
        if self.loss in RELATIONS:
            arguments["blocks"] = blocks
        return BATCH_LOSSES[self.loss](answer, target, present=present, **arguments)
