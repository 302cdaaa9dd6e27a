"""What objectives share that learn from pairs alone where in a picture its sound comes from."""

from collections.abc import Mapping

import flax.linen as nn
import jax
from jax import Array

from avssl.data.views import View
from avssl.errors import UsageError
from avssl.losses.localization import position_cosines, sounding_map
from avssl.models.convolution import HE_FAN_OUT
from avssl.models.features import Features
from avssl.objectives.base import Batch, Objective, Outputs, Read

# EZ-VSL's `trunc_normal_(std=0.01)` cuts at -2 and 2, where nothing is.
NARROW = nn.initializers.normal(0.01)


class LocalizingObjective(Objective):
    """The vector of a sound against the vector of each position of a picture.

    channels: of the space that both are projected into, each position of the picture by a 1x1 convolution
    and the sound by a linear layer, drawn as in EZ-VSL's code, with biases of 0; 0 compares what the encoders
    give, which must then be of one width. Positions of several frames are positions of one picture.

    `outputs["video"]` [batch, positions x channels] are all positions: every sound of the batch meets every
    picture, so each map leaves its device once. An evaluation keeps them of all clips of the test part on the
    host (100 kB a clip for 7 x 7 positions of 512 numbers).

    In evaluation `video_map` [batch, height, width] is the cosine of each position with the picture's own
    sound, averaged over frames. Retrieval goes by `pair_scores`.
    """

    channels: int = 512

    def setup(self) -> None:
        if self.channels:
            self.video_head, self.audio_head = (
                nn.Dense(self.channels, kernel_init=init, dtype=self.dtype, param_dtype=self.dtype)
                for init in (HE_FAN_OUT, NARROW)
            )

    def views(self, table: Mapping[str, View]) -> dict[str, View]:
        if self.channels < 0:
            raise UsageError(
                f"{self.config_key}.channels must be at least 0 (no projections), not {self.channels}"
            )
        return super().views(table)

    def heads(self, features: Mapping[Read, Features], batch: Batch, *, train: bool) -> Outputs:
        return self.compared(*self.common_space(features), train=train)

    def compared(self, video_map: Array, audio: Array, *, train: bool) -> Outputs:
        outputs = {"video": video_map.reshape(len(video_map), -1), "audio": audio}
        if not train:
            outputs["video_map"] = heat_map(video_map, audio)
        return outputs

    def common_space(self, features: Mapping[Read, Features]) -> tuple[Array, Array]:
        """Pictures [batch, *frames, height, width, d] and sounds [batch, d]."""
        video_map = self.map_of(features, self.video_read, self.config_key)
        audio = features[self.audio_read].embedding
        video_map, audio = video_map.astype(self.dtype), audio.astype(self.dtype)
        if self.channels:
            return self.video_head(video_map), self.audio_head(audio)
        if video_map.shape[-1] != audio.shape[-1]:
            raise UsageError(
                f"{self.config_key} compares what the encoders give, but the map of "
                f"'{self.video_encoder}' has {video_map.shape[-1]} channels and the embedding of "
                f"'{self.audio_encoder}' {audio.shape[-1]}: give encoders of equal width, or project both "
                f"with {self.config_key}.channels"
            )
        return video_map, audio

    def pair_scores(self, cosines: Array) -> Array:
        """How well a picture goes with a sound, from their cosines at its positions, the last axis."""
        raise TypeError(f"{type(self).__name__} defines no score of a pair")

    def joint(self, outputs: Outputs) -> None:
        """A picture has a vector at each position, none of its own."""
        return None

    def similarity(self, video: Array, audio: Array) -> Array:
        def against_all(one_video: Array) -> Array:
            picture = positions(one_video[None], audio)
            return self.pair_scores(position_cosines(picture, audio))[0]

        # Row by row: all positions of all pairs at once would not fit.
        return jax.lax.map(against_all, video)

    def row_similarity(self, video: Array, audio: Array) -> Array:
        return self.pair_scores(sounding_map(positions(video, audio), audio))


def positions(video: Array, audio: Array) -> Array:
    """The flat maps of the heads as lists of vectors as wide as the sound's."""
    return video.reshape(len(video), -1, audio.shape[-1])


def heat_map(video_map: Array, audio: Array) -> Array:
    """Cosine of each position with the picture's own sound, [batch, height, width], mean over frames."""
    height, width, channels = video_map.shape[-3:]
    cosines = sounding_map(video_map.reshape(len(video_map), -1, channels), audio)
    return cosines.reshape(len(video_map), -1, height, width).mean(axis=1)
