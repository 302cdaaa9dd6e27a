"""Detection of the objects that the data name: what teachers of boxes are trained by."""

from collections.abc import Mapping

from avssl.data.views import View
from avssl.errors import UsageError
from avssl.models.features import Features
from avssl.objectives.base import Batch, Outcome, Outputs, Read
from avssl.objectives.detecting import DetectingObjective, known_objects


class Detect(DetectingObjective):
    """EfficientDet's loss of the boxes that the source knows of each picture (`views.NAME.objects`).

    In the place of the pretrained detectors that teach StereoSoundNet (Gan et al. 2019, arXiv 1910.11760) and
    MM-DistillNet (Valverde et al. 2021, arXiv 2103.01353): a run for each eye, whose view names its `stream`.
    """

    @property
    def detector_read(self) -> Read:
        return self.video_read

    def views(self, table: Mapping[str, View]) -> dict[str, View]:
        view = table[self.video_view]
        if not getattr(view, "objects", 0):
            raise UsageError(
                f"{self.config_key} needs to know where objects are: set views.{self.video_view}.objects to "
                "how many boxes of a picture it learns at most"
            )
        return {self.video_view: view}

    def heads(self, features: Mapping[Read, Features], batch: Batch, *, train: bool) -> Outputs:
        seen = features[self.video_read]
        boxes, classes, known = known_objects(batch["geometry"][self.video_view])
        losses = self.row_losses(
            self.said(seen), boxes.astype(self.dtype), classes, known, self.both_present(batch)
        )
        return losses if train else {**losses, "boxes": self.boxes(seen)}

    def __call__(self, outputs: Outputs, batch: Batch, *, train: bool) -> Outcome:
        return self.detection_outcome(outputs, self.both_present(batch))
