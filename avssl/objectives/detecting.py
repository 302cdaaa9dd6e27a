"""What objectives that find boxes share: the outputs of a detector at its anchors, and what they mean."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import Array

from avssl.errors import UsageError
from avssl.losses.anchors import anchor_boxes, boxes_of_offsets
from avssl.losses.detection import detection_loss
from avssl.losses.rows import mean_present
from avssl.losses.suppression import surest_boxes
from avssl.models.detector import anchor_outputs, levels_of
from avssl.models.features import Features
from avssl.objectives.base import Batch, Objective, Outcome, Outputs, Read

ANCHORS_PER_CELL = 9


@dataclasses.dataclass(frozen=True)
class Said:
    """What a detector says of one picture each: logits [b, a, classes], offsets [b, a, 4]; its anchors [a, 4].

    size: (height, width) of the picture, in the anchors' pixels.
    """

    logits: Array
    offsets: Array
    anchors: Array
    size: tuple[int, int]

    @property
    def scale(self) -> Array:
        """What shares of the picture are multiplied by, as boxes [1, 1, 4]."""
        height, width = self.size
        return jnp.array([[[width, height, width, height]]], self.offsets.dtype)


class DetectingObjective(Objective):
    """One encoder, `detector_read`, is a detector (`models/detector.py`) and learns boxes.

    The loss of each picture is `losses/detection.py`'s, EfficientDet's. Boxes are x0, y0, x1, y1 in shares of
    `video_view`, whether the encoder sees it or not; that view has one frame.

    agnostic: all objects are of one class, and the encoder has `num_classes=1`.
    least_probability: 1e-4 clamps probabilities as the released code does.
    num_boxes, least_score, overlap: of `boxes`, what is found, as teachers give it and evaluation scores it.
    """

    agnostic: bool = False
    least_probability: float = 0.0
    num_boxes: int = 16
    least_score: float = 0.05
    overlap: float = 0.5

    # From a half on nothing would be between the lowest and the highest probability.
    bounds: ClassVar[Mapping[str, tuple[float, float]]] = {
        "least_probability": (0, 0.499),
        "num_boxes": (1, math.inf),
    }

    @property
    def detector_read(self) -> Read:
        raise TypeError(f"{type(self).__name__} names no detector")

    def reads(self) -> tuple[Read, ...]:
        return (self.detector_read,)

    def both_present(self, batch: Batch) -> Array:
        return batch["present"][self.detector_read.view]

    def detects(self, encoder: str) -> bool:
        return encoder == self.detector_read.encoder

    def check_classes(self, num_classes: int, encoders: Mapping[str, Any]) -> None:
        """An object of a class without a logit would be learnt as nothing."""
        encoder = self.detector_read.encoder
        num_logits = getattr(encoders[encoder], "num_classes", num_classes)
        if not self.agnostic and num_classes > num_logits:
            raise UsageError(
                f"{self.config_key} finds objects of the data's {num_classes} classes, and the encoder "
                f"'{encoder}' tells {num_logits}: set encoders.{encoder}.num_classes={num_classes}, or "
                f"{self.config_key}.agnostic=True and encoders.{encoder}.num_classes=1"
            )

    def said(self, features: Features) -> Said:
        levels = levels_of(features.taps)
        if not levels:
            raise UsageError(
                f"{self.config_key} needs a detector: set encoders.{self.detector_read.encoder}.name to "
                "small_detector_video or small_detector_audio"
            )
        taps = {name: self.of_one_picture(tap) for name, tap in features.taps.items()}
        logits, offsets = anchor_outputs(taps, levels, num_anchors=ANCHORS_PER_CELL)
        if self.agnostic and logits.shape[-1] != 1:
            raise UsageError(
                f"{self.config_key}.agnostic knows one class: set "
                f"encoders.{self.detector_read.encoder}.num_classes=1"
            )
        height, width = (side * 2 ** levels[0] for side in taps[f"classes{levels[0]}"].shape[1:3])
        anchors = anchor_boxes(height, width, strides=tuple(2**level for level in levels))
        return Said(
            logits.astype(self.dtype), offsets.astype(self.dtype), anchors.astype(self.dtype),
            (height, width),
        )  # fmt: skip

    def of_one_picture(self, tap: Array) -> Array:
        if tap.ndim == 5:
            if tap.shape[1] != 1:
                raise UsageError(
                    f"{self.config_key} looks at one picture: set "
                    f"views.{self.detector_read.view}.frames=1"
                )
            tap = tap[:, 0]
        return tap

    def row_losses(
        self, said: Said, boxes: Array, classes: Array, known: Array, present: Array
    ) -> Outputs:
        """The loss of each picture and its parts, [batch]; their means over present rows are the batch's.

        boxes: [batch, m, 4] in shares of the picture; known: [batch, m], which of them are boxes.
        """
        classes = jnp.zeros_like(classes) if self.agnostic else classes

        def of_row(
            logits: Array,
            offsets: Array,
            boxes: Array,
            classes: Array,
            known: Array,
            present: Array,
        ) -> Outputs:
            loss, parts = detection_loss(
                logits[None], offsets[None], anchors=said.anchors, boxes=boxes[None],
                labels=classes[None], known=known[None], least_probability=self.least_probability,
                present=present[None],
            )  # fmt: skip
            return {"detection_loss": loss, **parts}

        return jax.vmap(of_row)(
            said.logits, said.offsets, boxes * said.scale, classes, known, present
        )

    def boxes(self, features: Features) -> Array:
        """What is found in each picture: [batch, num_boxes, 6], as `surest_boxes` lists it."""
        said = self.said(features)
        found = boxes_of_offsets(said.anchors, said.offsets) / said.scale
        found = jnp.clip(jnp.where(jnp.isnan(found), 0.0, found), 0.0, 1.0)
        probabilities = jax.nn.sigmoid(said.logits)
        number = found.shape[1]
        return surest_boxes(
            found,
            jnp.max(probabilities, axis=-1),
            jnp.argmax(probabilities, axis=-1),
            number=self.num_boxes,
            candidates=min(8 * self.num_boxes, number),
            least_score=self.least_score,
            overlap=self.overlap,
        ).astype(self.dtype)

    def detection_outcome(self, outputs: Outputs, present: Array) -> Outcome:
        """The mean over the pictures that are present."""
        means = {
            name: mean_present(outputs[name], present)
            for name in (
                "detection_loss", "classification_loss", "regression_loss", "num_positive_anchors",
            )
        }  # fmt: skip
        return Outcome(means.pop("detection_loss"), means)


def known_objects(geometry: Mapping[str, Array]) -> tuple[Array, Array, Array]:
    """(boxes, classes, which are objects) that a view with `objects` says."""
    boxes, classes = geometry["objects"], geometry["classes"]
    return boxes, classes, (classes >= 0) & (boxes[..., 2] > boxes[..., 0])
