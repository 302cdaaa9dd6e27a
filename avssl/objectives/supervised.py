"""Labels: the upper bound that self-supervision is measured against."""

from collections.abc import Mapping

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from avssl.losses.pseudo_labels import pseudo_label_loss
from avssl.models.features import Features
from avssl.objectives.base import Batch, Objective, Outcome, Outputs, Read


class Supervised(Objective):
    """Cross-entropy of the record's label from each modality by a linear layer; the mean of both.

    Clips without a label (-1), and a modality that a clip lacks, are left out. A label of `num_classes` or more
    has no logit: the loss leaves it out as well, and `labelled` shows how many clips remain.
    """

    num_classes: int = 10

    def setup(self) -> None:
        self.video_classifier = nn.Dense(self.num_classes, dtype=self.dtype, param_dtype=self.dtype)
        self.audio_classifier = nn.Dense(self.num_classes, dtype=self.dtype, param_dtype=self.dtype)

    def heads(self, features: Mapping[Read, Features], batch: Batch, *, train: bool) -> Outputs:
        return {
            "video_logits": self.video_classifier(features[self.video_read].embedding),
            "audio_logits": self.audio_classifier(features[self.audio_read].embedding),
        }

    def classifies(self, encoder: str) -> bool:
        return encoder in (self.video_encoder, self.audio_encoder)

    def class_logits(self, embedding: Array, encoder: str) -> Array:
        is_video = encoder == self.video_encoder
        return (self.video_classifier if is_video else self.audio_classifier)(embedding)

    def __call__(self, outputs: Outputs, batch: Batch, *, train: bool) -> Outcome:
        label = batch["label"]
        known = (label >= 0) & (label < self.num_classes)
        losses, metrics = [], {"labelled": jnp.sum(known).astype(self.dtype)}
        for modality, view in (("video", self.video_view), ("audio", self.audio_view)):
            loss, of_modality = pseudo_label_loss(
                outputs[f"{modality}_logits"], label, present=batch["present"][view]
            )
            losses.append(loss)
            metrics |= {f"{modality}_{key}": value for key, value in of_modality.items()}
        return Outcome((losses[0] + losses[1]) / 2, metrics)

    def clusters(self, outputs: Outputs) -> dict[str, Array]:
        return {
            modality: jnp.argmax(outputs[f"{modality}_logits"], axis=-1)
            for modality in ("video", "audio")
        }
