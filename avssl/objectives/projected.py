"""What contrastive objectives share: a head for each modality, into one space."""

import functools
from collections.abc import Mapping

from avssl.errors import UsageError
from avssl.models.features import Features
from avssl.models.heads import ProjectionMLP
from avssl.objectives.base import Batch, Objective, Outputs, Read


class ProjectedObjective(Objective):
    """Video and audio through an MLP each, of the widths in `projection`.

    `norm_heads` puts BatchNorm behind every layer of the heads, without scale and bias behind the last. The
    published heads have none. Fresh encoders give all clips nearly one vector, and a contrastive loss first
    draws them together; normalised vectors stay apart.
    """

    projection: tuple[int, ...] = (512, 512, 128)
    norm_heads: bool = False

    def setup(self) -> None:
        head = functools.partial(
            ProjectionMLP,
            self.projection,
            batch_norm=self.norm_heads,
            norm_output=self.norm_heads,
            dtype=self.dtype,
        )
        self.video_head, self.audio_head = head(), head()

    @property
    def width(self) -> int:
        """Of the vectors that the heads give, and memory holds."""
        if not self.projection:
            raise UsageError(
                f"{self.config_key}.projection must have one width at least, such as (128,)"
            )
        return self.projection[-1]

    def heads(self, features: Mapping[Read, Features], batch: Batch, *, train: bool) -> Outputs:
        return {
            "video": self.video_head(features[self.video_read].embedding, train=train),
            "audio": self.audio_head(features[self.audio_read].embedding, train=train),
        }
