"""L3-Net: binary audio-visual correspondence with a fusion network."""

from collections.abc import Mapping

import flax.linen as nn
import jax
from jax import Array

from avssl.losses.blocks import by_blocks
from avssl.losses.correspondence import correspondence_loss
from avssl.models.features import Features
from avssl.models.norm import BatchNorm
from avssl.objectives.base import Batch, Objective, Outcome, Outputs, Read
from avssl.objectives.blocks import num_blocks
from avssl.objectives.pairs import pairs_of_batch


class Avc(Objective):
    """Do picture and sound belong together (Arandjelovic & Zisserman 2017, "Look, Listen and Learn").

    arXiv 1705.08168, section 2: h = ReLU(W1 [video; audio] + b1) with 128 units, logits = W2 h + b2, softmax
    cross-entropy, half of the pairs corresponding. W1 is kept as its two halves, W1 [v; a] = Wv v + Wa a, so
    that what compares clips, on the global batch, is a sum of projections and a 128 x 2 product.

    Departure: the mismatched sound is another clip's of the batch (see `pairs.py`), not of a video drawn from
    the whole data; with `all_negatives` each other clip's is, which encodes nothing more (`blocks` then takes
    the batch^2 pairs in so many parts, one after the other). `norm_heads` puts BatchNorm behind each half:
    fresh encoders give all clips nearly one vector, in which what tells them apart is small. The paper's
    weight penalty (1e-5) is the optimiser's.

    In evaluation `video_map` shows where in the picture the answer comes from, which the paper shows by
    single units: the same layers on each position's features, as trained on their maximum.
    """

    hidden: int = 128
    norm_heads: bool = False
    all_negatives: bool = False
    blocks: int | None = None

    def setup(self) -> None:
        self.video_half = nn.Dense(self.hidden)
        self.audio_half = nn.Dense(self.hidden, use_bias=False)
        # Not rounded as TPUs and GPUs would: retrieval ranks by these logits.
        self.classify = nn.Dense(2, precision=jax.lax.Precision.HIGHEST)
        if self.norm_heads:
            self.video_norm, self.audio_norm = (
                BatchNorm(dtype=self.dtype),
                BatchNorm(dtype=self.dtype),
            )

    def of_video(self, features: Array, *, train: bool) -> Array:
        half = self.video_half(features)
        return self.video_norm(half, train=train) if self.norm_heads else half

    def of_audio(self, features: Array, *, train: bool) -> Array:
        half = self.audio_half(features)
        return self.audio_norm(half, train=train) if self.norm_heads else half

    def heads(self, features: Mapping[Read, Features], batch: Batch, *, train: bool) -> Outputs:
        seen = features[self.video_read]
        outputs = {
            "video": self.of_video(seen.embedding, train=train),
            "audio": self.of_audio(features[self.audio_read].embedding, train=train),
        }
        if not train and seen.map is not None and seen.map.shape[-1] == seen.embedding.shape[-1]:
            outputs["video_map"] = self.heat_map(seen.map, outputs["audio"])
        return outputs

    def heat_map(self, video_map: Array, audio: Array) -> Array:
        """The answer to each position of the picture alone, [batch, height, width], mean over frames."""
        cells = self.of_video(video_map, train=False)
        beside = audio.reshape(len(audio), *(1,) * (cells.ndim - 2), -1)
        scores = self.row_similarity(cells, beside)
        return scores.mean(axis=1) if scores.ndim == 4 else scores

    def __call__(self, outputs: Outputs, batch: Batch, *, train: bool) -> Outcome:
        pairs = pairs_of_batch(
            self.make_rng("draw"),
            batch["index"],
            self.both_present(batch),
            all_negatives=self.all_negatives,
        )

        def of_pairs(rows: tuple[Array, Array]) -> Array:
            video, audio = rows
            return self.logits(outputs["video"][video], outputs["audio"][audio])

        logits = by_blocks(
            of_pairs,
            (pairs.video, pairs.audio),
            blocks=num_blocks(self.blocks, batch, train=train, key=self.config_key),
        )
        return Outcome(
            *correspondence_loss(
                logits, pairs.corresponds, present=pairs.usable, weights=pairs.weight
            )
        )

    def logits(self, video: Array, audio: Array) -> Array:
        return self.classify(jax.nn.relu(video + audio))

    def joint(self, outputs: Outputs) -> None:
        """The halves are summands, not two vectors of one space."""
        return None

    def similarity(self, video: Array, audio: Array) -> Array:
        """How much more likely each pair is to correspond than not, as a logit."""

        def against_all(one_video: Array) -> Array:
            logits = self.logits(one_video[None], audio)
            return logits[:, 1] - logits[:, 0]

        # Row by row: all pairs at once would hold `hidden` numbers for each of them.
        return jax.lax.map(against_all, video)

    def row_similarity(self, video: Array, audio: Array) -> Array:
        logits = self.logits(video, audio)
        return logits[..., 1] - logits[..., 0]
