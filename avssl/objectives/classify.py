"""Fine-tuning: classes or tags from the embedding of one modality, or of both."""

from collections.abc import Mapping

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from avssl.data.views import View
from avssl.errors import UsageError
from avssl.losses.classification import (
    class_shares,
    classification_loss,
    tag_shares,
    tagging_loss,
)
from avssl.models.draws import RowDropout
from avssl.models.features import Features
from avssl.objectives.base import Batch, Outcome, Outputs, Owned, Read
from avssl.objectives.modalities import ModalitiesObjective
from avssl.objectives.tags import UNKNOWN, tags_as_memory


class Classify(ModalitiesObjective):
    """Cross-entropy of the record's label by a linear layer on dropped-out embeddings, of one modality or both.

    The usual head of fine-tuning (AVID, XDC, SeLaVi on UCF101; PANNs on sounds). Of both `modalities` the
    embeddings are concatenated: a modality that a clip lacks is zeros, and a clip that has neither is left out,
    as is one without a label (-1) or with one of `num_classes` or more. dropout: of the embedding, in training.
    label_smoothing: the share of a label that is spread over all classes (Szegedy et al. 2016).

    multi_label: a clip has one class or several (`truth["classes"]`), or known to be none: the mean binary
    cross-entropy of all tags (PANNs). They are learnt from the data once at the start, as memory: a byte a
    record and class. Smoothing then draws each tag towards one half.

    Of a mixture of two clips (`data.mixup`) it learns both, each by its share, smoothed alike.
    """

    num_classes: int = 10
    modalities: tuple[str, ...] = ("video",)
    dropout: float = 0.0
    label_smoothing: float = 0.0
    multi_label: bool = False

    refresh_tags = True
    takes_mixtures = True

    def setup(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise UsageError(
                f"{self.config_key}.label_smoothing must be at least 0 and below 1, not {self.label_smoothing}"
            )
        self.drop = RowDropout(self.dropout)
        self.classifier = nn.Dense(self.num_classes, dtype=self.dtype, param_dtype=self.dtype)
        if self.multi_label:
            self.require_records(1, "the tags of each")
            rows = (self.num_records, self.num_classes)
            self.tags = self.variable("memory", "tags", jnp.full, rows, UNKNOWN, jnp.int8)

    def needed_views(self, table: Mapping[str, View]) -> dict[str, View]:
        return self.views(table) if len(self.chosen_reads) == 1 else {}

    def views_of_some(self, table: Mapping[str, View]) -> dict[str, View]:
        """Either of both is enough."""
        return self.needed_views(table)

    def both_present(self, batch: Batch) -> Array:
        return jnp.stack([batch["present"][read.view] for read in self.reads()]).any(axis=0)

    def heads(self, features: Mapping[Read, Features], batch: Batch, *, train: bool) -> Outputs:
        embeddings = []
        for read in self.reads():
            embedding = features[read].embedding
            if embedding.ndim != 2:
                raise self.several_windows(read)
            embeddings.append(jnp.where(batch["present"][read.view][:, None], embedding, 0.0))
        joined = jnp.concatenate(embeddings, axis=1)
        return {"logits": self.classifier(self.drop(joined, train=train, rows=batch["row"]))}

    def __call__(self, outputs: Outputs, batch: Batch, *, train: bool) -> Outcome:
        present, logits = self.both_present(batch), outputs["logits"]
        shares, known = self.shares(batch)
        if mixture := batch.get("mixture"):
            own = mixture["share"][:, None]
            shares = own * shares + (1 - own) * self.shares(mixture)[0]
        if self.multi_label:
            return Outcome(*tagging_loss(logits, shares, known=known & present[:, None]))
        return Outcome(*classification_loss(logits, shares, present=known & present))

    def shares(self, batch: Batch) -> tuple[Array, Array]:
        """(what each class is given of each row, smoothed; whether that is known, of each row or tag)."""
        smoothed = {"dtype": self.dtype, "smoothing": self.label_smoothing}
        if self.multi_label:
            tags = self.tags.value[batch["index"]]
            return tag_shares(tags, **smoothed), tags != UNKNOWN
        label = batch["label"]
        known = (label >= 0) & (label < self.num_classes)
        return class_shares(jnp.where(known, label, 0), self.num_classes, **smoothed), known

    def answered(self, batch: Batch) -> Array:
        known = self.shares(batch)[1]
        return self.both_present(batch) & known.reshape(len(known), -1).all(axis=1)

    def refresh_due(self, step: int) -> bool:
        """The tags of the data, once."""
        return self.multi_label and step == 0

    def refresh(self, owned: Owned, kept: Outputs, seen: Array, step: int, key: Array) -> Owned:
        tags = tags_as_memory(kept["tags"], self.num_classes, self.config_key)
        return Owned(owned.params, {**owned.memory, "tags": tags})

    @property
    def learns_labels(self) -> bool:
        return not self.multi_label

    def classifies(self, encoder: str) -> bool:
        reads = self.reads()
        return not self.multi_label and len(reads) == 1 and encoder == reads[0].encoder

    def class_logits(self, embedding: Array, encoder: str) -> Array:
        return self.classifier(embedding)

    def label_logits(self, outputs: Outputs) -> dict[str, Array]:
        return {} if self.multi_label else {self.who: outputs["logits"]}

    def tag_logits(self, outputs: Outputs) -> dict[str, Array]:
        return {self.who: outputs["logits"]} if self.multi_label else {}

    def clusters(self, outputs: Outputs) -> dict[str, Array]:
        """The likeliest class, or tag."""
        return {self.who: jnp.argmax(outputs["logits"], axis=-1)}
