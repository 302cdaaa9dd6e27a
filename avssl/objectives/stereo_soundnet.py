"""StereoSoundNet: where vehicles are in a picture, from two microphones alone."""

from collections.abc import Mapping

from avssl.errors import UsageError
from avssl.losses.ranking import ranking_loss
from avssl.models.features import Features
from avssl.models.heads import ProjectionMLP
from avssl.objectives.base import Batch, Outcome, Outputs, Read
from avssl.objectives.hearing import HearingObjective


class StereoSoundnet(HearingObjective):
    """Detection of a seeing teacher's boxes + ranking_weight * ranking of its embeddings.

    Gan, Zhao, Chen, Cox & Torralba 2019 (ICCV, "Self-Supervised Moving Vehicle Tracking with Stereo Sound",
    arXiv 1910.11760). No code is public: the form is as recalled and as MM-DistillNet runs it as a baseline,
    not verified; the ranking is `losses/ranking.py`, margin 0.2 as there. The weight 1 is ours.

    Departures: the loss of boxes is EfficientDet's (`losses/detection.py`) for YOLOv2's, the student
    `small_detector_audio` or another detector on anchors; embeddings by a linear layer of the student are
    ranked where the paper ranks maps; the camera's height, pitch and street are not told; one teacher. Mixtures
    of two clips take no part in the ranking.
    """

    ranking_weight: float = 1.0
    ranking_margin: float = 0.2

    def setup(self) -> None:
        if len(self.names) != 1:
            raise UsageError(
                f"{self.config_key} has one teacher, not {len(self.names)}: mm_distillnet takes several"
            )
        if self.ranking_weight:
            width = self.target_shapes[self.names[0]]["embedding"][-1]
            self.student_head = ProjectionMLP((width,), dtype=self.dtype)

    @property
    def target_kinds(self) -> tuple[str, ...]:
        return ("boxes", "embedding") if self.ranking_weight else ("boxes",)

    def heads(self, features: Mapping[Read, Features], batch: Batch, *, train: bool) -> Outputs:
        outputs = super().heads(features, batch, train=train)
        if self.ranking_weight:
            outputs["answer"] = self.student_head(features[self.audio_read].embedding, train=train)
        return outputs

    def __call__(self, outputs: Outputs, batch: Batch, *, train: bool) -> Outcome:
        outcome = self.told_outcome(outputs, batch)
        if not self.ranking_weight:
            return outcome
        ranking, metrics = ranking_loss(
            outputs["answer"],
            batch["targets"][self.names[0]]["embedding"],
            margin=self.ranking_margin,
            index=batch["index"],
            present=self.unmixed(batch),
        )
        metrics = {**outcome.metrics, **metrics, "ranking_loss": ranking}
        return Outcome(outcome.loss + self.ranking_weight * ranking, metrics)
