"""Labels: the upper bound that self-supervision is measured against."""

from collections.abc import Mapping

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from avssl.data.views import View
from avssl.errors import UsageError
from avssl.losses.angular_margin import additive_angular_margin
from avssl.losses.pseudo_labels import pseudo_label_loss
from avssl.models.cosine_classifier import CosineClassifier
from avssl.models.features import Features
from avssl.objectives.base import Batch, Objective, Outcome, Outputs, Read

# Of cosines, where there is a margin.
SCALE = 32.0


class Supervised(Objective):
    """Cross-entropy of the record's label from each modality by a linear layer; the mean of both.

    Clips without a label (-1), and a modality that a clip lacks, are left out. A label of `num_classes` or more
    has no logit: the loss leaves it out as well, and `labelled` shows how many clips remain.

    margin: not None, classes are told by angles with that margin (`losses/angular_margin.py`; 0.2 for
    speakers), as for embeddings that are compared by their cosine; logits are then 32 times cosines.
    """

    num_classes: int = 10
    margin: float | None = None

    def setup(self) -> None:
        if self.margin is not None and self.margin < 0:
            raise UsageError(f"{self.config_key}.margin must be at least 0, not {self.margin}")
        self.video_classifier = self.fresh_classifier()
        self.audio_classifier = self.fresh_classifier()

    def fresh_classifier(self) -> nn.Module:
        if self.margin is not None:
            return CosineClassifier(self.num_classes, dtype=self.dtype)
        return nn.Dense(self.num_classes, dtype=self.dtype, param_dtype=self.dtype)

    def needed_views(self, table: Mapping[str, View]) -> dict[str, View]:
        """None: each modality learns by itself."""
        return {}

    def views_of_some(self, table: Mapping[str, View]) -> dict[str, View]:
        """Nor here: data of one modality train its encoder."""
        return {}

    def both_present(self, batch: Batch) -> Array:
        """One is enough."""
        return batch["present"][self.video_view] | batch["present"][self.audio_view]

    def heads(self, features: Mapping[Read, Features], batch: Batch, *, train: bool) -> Outputs:
        return {
            f"{modality}_logits": self.class_logits(features[read].embedding, read.encoder)
            for modality, read in (("video", self.video_read), ("audio", self.audio_read))
        }

    @property
    def learns_labels(self) -> bool:
        return True

    def classifies(self, encoder: str) -> bool:
        return encoder in (self.video_encoder, self.audio_encoder)

    def class_logits(self, embedding: Array, encoder: str) -> Array:
        is_video = encoder == self.video_encoder
        found = (self.video_classifier if is_video else self.audio_classifier)(embedding)
        return found if self.margin is None else SCALE * found

    def classification(
        self, logits: Array, label: Array, present: Array
    ) -> tuple[Array, dict[str, Array]]:
        if self.margin is None:
            return pseudo_label_loss(logits, label, present=present)
        return additive_angular_margin(
            logits / SCALE, label, margin=self.margin, scale=SCALE, present=present
        )

    def __call__(self, outputs: Outputs, batch: Batch, *, train: bool) -> Outcome:
        label = batch["label"]
        known = (label >= 0) & (label < self.num_classes)
        losses, metrics = [], {"labelled": jnp.sum(known).astype(self.dtype)}
        for modality, view in (("video", self.video_view), ("audio", self.audio_view)):
            loss, of_modality = self.classification(
                outputs[f"{modality}_logits"], label, batch["present"][view]
            )
            losses.append(loss)
            metrics |= {f"{modality}_{key}": value for key, value in of_modality.items()}
        return Outcome((losses[0] + losses[1]) / 2, metrics)

    def can_say(self, batch: Batch, who: str) -> Array:
        return batch["present"][self.video_view if who == "video" else self.audio_view]

    def label_logits(self, outputs: Outputs) -> dict[str, Array]:
        return {modality: outputs[f"{modality}_logits"] for modality in ("video", "audio")}

    def clusters(self, outputs: Outputs) -> dict[str, Array]:
        return {
            modality: jnp.argmax(logits, axis=-1)
            for modality, logits in self.label_logits(outputs).items()
        }
