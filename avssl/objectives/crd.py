"""Contrastive representation distillation: student and teacher of a record are told from those of others."""

from collections.abc import Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from avssl.errors import UsageError
from avssl.losses.bank import draw_negatives, initial_bank, update_bank
from avssl.losses.memory_contrast import (
    draw_other_classes,
    memory_nce_loss,
    memory_softmax_loss,
    rows_by_class,
)
from avssl.losses.pseudo_labels import pseudo_label_loss
from avssl.models.features import Features
from avssl.models.heads import ProjectionMLP
from avssl.objectives.base import Batch, Outcome, Outputs, Owned, Read, Target
from avssl.objectives.student import StudentObjective

SIDES = ("student", "teacher")


class Crd(StudentObjective):
    """label_weight * cross-entropy of the labels + transfer_weight * NCE against banks of both sides.

    Tian, Krishnan & Isola 2020 (ICLR, arXiv 1910.10699; code: RepDistiller, `crd/`). The loss is
    `losses/memory_contrast.py`: embeddings of both sides, each by a linear layer of `embedding_width` that
    learns, against a bank of the other side; the positive is the record's own row, and `num_negatives` are
    drawn for each row. Constants as published: 16384 negatives of other classes, temperature 0.07, banks that
    move by half, weights 1 and 0.8 (RepDistiller's further KD term is the objective `distill` beside this one).

    other_classes: negatives of other classes than the row's, which the labels of the data say once at the
    start; else of all other records. softmax: cross-entropy over the scores in place of NCE (CMC's other form).

    Departures: those of the loss; student and teacher may be of different modalities, so clips that lack
    either leave the transfer, as do those without a label where negatives are of other classes.
    """

    teacher: str = "teacher"
    embedding_width: int = 128
    num_negatives: int = 16384
    other_classes: bool = True
    softmax: bool = False
    temperature: float = 0.07
    bank_momentum: float = 0.5
    label_weight: float = 1.0
    transfer_weight: float = 0.8

    bounds: ClassVar[Mapping[str, tuple[float, float]]] = {"bank_momentum": (0, 0.999999)}
    without_labels: ClassVar[str] = "label_weight=0 and other_classes=False"

    def setup(self) -> None:
        self.require_records(2, "one to be told from another")
        if self.num_negatives < 1:
            raise UsageError(f"{self.config_key}.num_negatives must be at least 1")
        self.student_head = ProjectionMLP((self.embedding_width,), dtype=self.dtype)
        self.teacher_head = ProjectionMLP((self.embedding_width,), dtype=self.dtype)
        self.classifier = nn.Dense(self.num_classes, dtype=self.dtype, param_dtype=self.dtype)
        self.banks = {
            side: self.variable("memory", f"{side}_bank", self.fresh_bank) for side in SIDES
        }
        # 0 is unset: the first batch that is taught sets it.
        self.partitions = {
            side: self.variable("memory", f"{side}_partition", jnp.zeros, (), self.dtype)
            for side in SIDES
        }
        if self.other_classes:
            self.rows = self.variable("memory", "rows", jnp.zeros, (self.num_records,), jnp.int32)
            self.borders = self.variable(
                "memory", "borders", jnp.zeros, (self.num_classes + 1,), jnp.int32
            )

    def fresh_bank(self) -> Array:
        key = self.make_rng("params")
        return initial_bank(key, self.num_records, self.embedding_width, self.dtype)

    def targets(self) -> tuple[Target, ...]:
        return (Target(self.teacher, "embedding"),)

    @property
    def learns_labels(self) -> bool:
        return self.label_weight > 0 or self.other_classes

    def classifies(self, encoder: str) -> bool:
        """Without their weight no label reaches the classifier, wherever negatives are from."""
        return super().classifies(encoder) and self.label_weight > 0

    def refresh_due(self, step: int) -> bool:
        """The classes of the data, once."""
        return self.other_classes and step == 0

    def refresh(self, owned: Owned, kept: Outputs, seen: Array, step: int, key: Array) -> Owned:
        rows, borders = rows_by_class(kept["label"], num_classes=self.num_classes)
        return Owned(owned.params, {**owned.memory, "rows": rows, "borders": borders})

    def heads(self, features: Mapping[Read, Features], batch: Batch, *, train: bool) -> Outputs:
        student = features[self.student_read].embedding
        target = batch["targets"][self.teacher]["embedding"]
        return {
            self.student: student,
            "logits": self.classifier(student),
            "answer": self.student_head(student, train=train),
            "target": self.teacher_head(target, train=train),
        }

    def __call__(self, outputs: Outputs, batch: Batch, *, train: bool) -> Outcome:
        negatives, have_negatives = self.negatives(batch)
        taught = self.taught_by(self.teacher, batch)
        compared = taught & have_negatives
        transfer, partitions, losses = self.contrast(outputs, batch, negatives, compared)
        if train:
            self.remember(outputs, batch, taught, partitions)
        metrics = {f"{side}_contrast": loss for side, loss in losses.items()}
        metrics |= {f"{side}_partition": value for side, value in partitions.items()}
        metrics |= {"transfer": transfer, "taught": jnp.sum(compared).astype(self.dtype)}
        loss = self.transfer_weight * transfer
        if self.label_weight:
            label_loss, named = pseudo_label_loss(
                outputs["logits"], batch["label"], present=self.both_present(batch)
            )
            loss += self.label_weight * label_loss
            metrics |= {**named, "label_loss": label_loss}
        return Outcome(loss, metrics)

    def negatives(self, batch: Batch) -> tuple[Array, Array]:
        """Rows of the banks [batch, num_negatives], drawn for each row on its own; and which rows have any."""
        key = self.make_rng("draw")
        keys = jax.vmap(lambda row: jax.random.fold_in(key, row))(batch["row"])
        if self.other_classes:
            return draw_other_classes(
                keys, label=batch["label"], rows=self.rows.value, borders=self.borders.value,
                num_negatives=self.num_negatives,
            )  # fmt: skip
        drawn = draw_negatives(
            keys, index=batch["index"], num_rows=self.num_records, num_negatives=self.num_negatives
        )
        return drawn, jnp.ones(len(keys), bool)

    def contrast(
        self, outputs: Outputs, batch: Batch, negatives: Array, present: Array
    ) -> tuple[Array, dict[str, Array], dict[str, Array]]:
        """(the loss, Z of each side, the loss of each side)."""
        arguments: dict[str, Any] = dict(
            student_bank=self.banks["student"].value,
            teacher_bank=self.banks["teacher"].value,
            index=batch["index"],
            negatives=negatives,
            temperature=self.temperature,
            present=present,
        )
        partitions = {side: self.partitions[side].value for side in SIDES}
        sides = (outputs["answer"], outputs["target"])
        if self.softmax:
            loss, losses = memory_softmax_loss(*sides, **arguments)
            return loss, partitions, losses
        return memory_nce_loss(*sides, partitions=partitions, **arguments)

    def remember(
        self, outputs: Outputs, batch: Batch, taught: Array, partitions: dict[str, Array]
    ) -> None:
        """Puts the embeddings of taught rows into the banks, and keeps Z."""
        for side, embedding in zip(SIDES, (outputs["answer"], outputs["target"]), strict=True):
            self.banks[side].value = update_bank(
                self.banks[side].value, embedding, index=batch["index"],
                momentum=self.bank_momentum, present=taught,
            )  # fmt: skip
            self.partitions[side].value = partitions[side].astype(self.dtype)
