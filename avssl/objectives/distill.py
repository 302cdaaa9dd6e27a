"""Distillation: a student learns what a frozen teacher says of the same clip, and the labels if it likes."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from avssl.errors import UsageError, unknown
from avssl.losses.distillation import softened_divergence
from avssl.losses.hints import (
    attention_loss,
    hint_loss,
    pool_to_smaller,
    selectivity_loss,
    variational_loss,
)
from avssl.losses.kernel_transfer import information_flow, probabilistic_transfer
from avssl.losses.pseudo_labels import pseudo_label_loss
from avssl.losses.relations import (
    kernel_congruence,
    neighbour_congruence,
    relational_loss,
    similarity_loss,
)
from avssl.models.features import Features
from avssl.models.heads import ProjectionMLP
from avssl.models.regressors import HintRegressor, VariationalRegressor
from avssl.objectives.base import Batch, Outcome, Outputs, Read, Target
from avssl.objectives.blocks import num_blocks
from avssl.objectives.student import StudentObjective

# (weight of the labels' cross-entropy, weight of the transfer loss) as in RepDistiller's scripts. Those have
# no `ifd`, of which this is the last layer's weight, and no `kernel_cc`, whose weight is ours.
PUBLISHED_WEIGHTS = {
    "kd": (0.1, 0.9),
    "hint": (1.0, 100.0),
    "at": (1.0, 1000.0),
    "sp": (1.0, 3000.0),
    "pkt": (1.0, 30000.0),
    "rkd": (1.0, 1.0),
    "cc": (1.0, 0.02),
    "kernel_cc": (1.0, 1.0),
    "vid": (1.0, 1.0),
    "nst": (1.0, 50.0),
    "ifd": (1.0, 1.0),
}
# Those that take maps: each row has a loss of its own, so that no map has to leave its device.
ROW_LOSSES: dict[str, Callable[..., Array]] = {
    "hint": hint_loss,
    "at": attention_loss,
    "vid": variational_loss,
    "nst": selectivity_loss,
}
BATCH_LOSSES: dict[str, Callable[..., Array]] = {
    "kd": softened_divergence,
    "hint": hint_loss,
    "sp": similarity_loss,
    "pkt": probabilistic_transfer,
    "rkd": relational_loss,
    "cc": neighbour_congruence,
    "kernel_cc": kernel_congruence,
    "ifd": information_flow,
}
# These compare every row with all others.
RELATIONS = ("sp", "pkt", "rkd", "ifd", "kernel_cc")


class Distill(StudentObjective):
    """label_weight * cross-entropy of the labels + transfer_weight * a transfer loss of one teacher's targets.

    The form and the weights of RepDistiller (Tian, Krishnan & Isola 2020, arXiv 1910.10699), where every
    method is gamma * CE + alpha * KD + beta * X with X one of the losses below and alpha 0 for all but KD.

    loss: `kd` logits over `temperature` (Hinton et al. 2015); `hint` the teacher's embedding by a linear
    layer (Gupta et al. 2016), or its map by FitNets' regressor (`kind="map"`); `at` attention of maps, `nst`
    what their channels are selective to, `vid` the likelihood of the teacher's by a regressor that says how
    sure it is; `sp`, `pkt`, `rkd`, `ifd` relations of the rows' embeddings; `cc` the same, as released,
    between two linear layers of `embedding_width`, the teacher's trained as well, and `kernel_cc` as its paper
    has it, of the embeddings. Each is described in `avssl/losses`.
    student: the modality of the student. kind: what the teacher is asked for; empty: what the loss takes.
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
    kind: str = ""
    temperature: float = 4.0
    embedding_width: int = 128
    label_weight: float | None = None
    transfer_weight: float | None = None
    blocks: int | None = None

    without_labels: ClassVar[str] = "label_weight=0"

    def setup(self) -> None:
        shape = self.target_shapes[self.teacher][self.target.kind]
        if self.target.kind == "map":
            if self.loss == "hint":
                self.regressor: Any = HintRegressor(shape, dtype=self.dtype)
            elif self.loss == "vid":
                self.regressor = VariationalRegressor(shape[-1], dtype=self.dtype)
        elif self.loss == "hint":
            self.student_head = ProjectionMLP((shape[-1],), dtype=self.dtype)
        elif self.loss == "cc":
            self.student_head = ProjectionMLP((self.embedding_width,), dtype=self.dtype)
            self.teacher_head = ProjectionMLP((self.embedding_width,), dtype=self.dtype)
        num_logits = shape[-1] if self.loss == "kd" else self.num_classes
        self.classifier = nn.Dense(num_logits, dtype=self.dtype, param_dtype=self.dtype)

    @property
    def target(self) -> Target:
        """The teacher's side."""
        kinds = {"kd": ("logits",), "hint": ("embedding", "map")}
        kinds |= dict.fromkeys(("at", "vid", "nst"), ("map",))
        if self.loss not in PUBLISHED_WEIGHTS:
            raise unknown(f"{self.config_key}.loss", self.loss, PUBLISHED_WEIGHTS)
        allowed = kinds.get(self.loss, ("embedding",))
        kind = self.kind or allowed[0]
        if kind not in allowed:
            raise UsageError(
                f"{self.config_key}.kind: the loss '{self.loss}' takes {' or '.join(allowed)}, not '{kind}'"
            )
        return Target(self.teacher, kind, classes=kind == "logits" and self.weights[0] > 0)

    @property
    def weights(self) -> tuple[float, float]:
        """Of the labels and of the transfer."""
        labels, transfer = PUBLISHED_WEIGHTS[self.loss]
        return (
            labels if self.label_weight is None else self.label_weight,
            transfer if self.transfer_weight is None else self.transfer_weight,
        )

    def targets(self) -> tuple[Target, ...]:
        return (self.target,)

    @property
    def learns_labels(self) -> bool:
        return self.weights[0] > 0

    def classifies(self, encoder: str) -> bool:
        return super().classifies(encoder) and (self.loss == "kd" or self.learns_labels)

    @property
    def classes_are_labels(self) -> bool:
        """Without labels the columns are those of its own teacher, whose names the run does not keep."""
        return self.learns_labels

    def transferred(self, batch: Batch) -> Array:
        return self.taught_by(self.teacher, batch)

    def heads(self, features: Mapping[Read, Features], batch: Batch, *, train: bool) -> Outputs:
        student = features[self.student_read]
        target = batch["targets"][self.teacher][self.target.kind]
        outputs = {self.student: student.embedding, "logits": self.classifier(student.embedding)}
        if self.target.kind == "map":
            answer = self.student_map(features).astype(self.dtype)
            outputs["row_losses"] = self.row_losses(
                answer, target, self.transferred(batch), train=train
            )
        elif self.loss == "hint":
            outputs["answer"] = self.student_head(student.embedding, train=train)
        elif self.loss == "cc":
            outputs["answer"] = self.student_head(student.embedding, train=train)
            outputs["target"] = self.teacher_head(target, train=train)
        return outputs

    def student_map(self, features: Mapping[Read, Features]) -> Array:
        setting = f"{self.config_key}.loss={self.loss}"
        found = self.map_of(features, self.student_read, setting)
        shape = self.target_shapes[self.teacher]["map"]
        if found.ndim - 1 != len(shape):
            raise UsageError(
                f"{setting} compares maps of equally many axes, and that of the encoder "
                f"'{self.student_read.encoder}' is {found.shape[1:]}, that of the teacher "
                f"'{self.teacher}' {tuple(shape)}: take a loss of embeddings (hint, sp, pkt, rkd, ifd, cc, "
                "kernel_cc)"
            )
        return found

    def row_losses(self, answer: Array, target: Array, present: Array, *, train: bool) -> Array:
        """The loss of each row by itself, [batch]; their mean is the loss of the batch."""
        variance: list[Array] = []
        if self.loss == "hint":
            answer = self.regressor(answer, train=train)
        elif self.loss == "vid":
            # As released, before the regressor.
            answer, target = pool_to_smaller(answer, target)
            answer, *variance = self.regressor(answer)

        def of_row(answer: Array, target: Array, present: Array) -> Array:
            loss = ROW_LOSSES[self.loss]
            return loss(answer[None], target[None], *variance, present=present[None])

        return jax.vmap(of_row)(answer, target, present)

    def __call__(self, outputs: Outputs, batch: Batch, *, train: bool) -> Outcome:
        blocks = num_blocks(self.blocks, batch, train=train, key=self.config_key)
        transfer = self.transfer(outputs, batch, blocks)
        label_weight, transfer_weight = self.weights
        taught = jnp.sum(self.transferred(batch)).astype(self.dtype)
        told = {"transfer": transfer, "taught": taught}
        if not self.learns_labels:
            return Outcome(transfer_weight * transfer, told)
        label_loss, metrics = pseudo_label_loss(
            outputs["logits"], batch["label"], present=self.both_present(batch)
        )
        loss = label_weight * label_loss + transfer_weight * transfer
        return Outcome(loss, {**metrics, **told, "label_loss": label_loss})

    def transfer(self, outputs: Outputs, batch: Batch, blocks: int) -> Array:
        present = self.transferred(batch)
        if self.target.kind == "map":
            # A row that is not transferred has the loss 0 of no row.
            return jnp.sum(outputs["row_losses"]) / jnp.maximum(jnp.sum(present), 1)
        answer = outputs["logits" if self.loss == "kd" else self.student]
        answer = outputs.get("answer", answer)
        target = outputs.get("target", batch["targets"][self.teacher].get(self.target.kind))
        arguments: dict[str, Any] = {"temperature": self.temperature} if self.loss == "kd" else {}
        if self.loss in RELATIONS:
            arguments["blocks"] = blocks
        return BATCH_LOSSES[self.loss](answer, target, present=present, **arguments)
