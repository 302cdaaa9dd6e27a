"""Deep Multimodal Clustering: clusters of sound and of picture that name each other."""

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from avssl.data.views import View
from avssl.errors import UsageError, unknown
from avssl.losses.contrastive import negative_mask, unit_rows
from avssl.losses.precision import dot
from avssl.losses.rows import mean_present
from avssl.losses.soft_clusters import (
    assignment_entropy,
    center_distances,
    cluster_cosines,
    contrastive_distance_loss,
    max_margin_loss,
    projected_clusters,
    soft_kmeans,
)
from avssl.models.features import Features
from avssl.models.norm import BatchNorm
from avssl.objectives.base import Batch, Objective, Outcome, Outputs, Read
from avssl.objectives.pairs import pairs_of_batch

FORMS = ("projected", "simplified")
COUNTS = ("num_clusters", "num_routings", "video_clusters", "audio_clusters", "num_iterations")


class SharedProjections(nn.Module):
    """The paper's clusters, with their one projection each, the same for pictures and sounds."""

    num_clusters: int
    width: int
    num_routings: int
    routing_sharpness: float
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, vectors: Array) -> tuple[Array, Array]:
        shape = (vectors.shape[-1], self.num_clusters, self.width)
        uniform = nn.initializers.glorot_uniform(in_axis=0, out_axis=(1, 2))
        weight = self.param("weight", uniform, shape, self.dtype)
        return projected_clusters(
            vectors, weight, num_routings=self.num_routings,
            routing_sharpness=self.routing_sharpness,
        )  # fmt: skip


class Dmc(Objective):
    """Soft clusters of the positions of a picture and of a sound, matched across the two.

    Hu, Nie & Li 2019 ("Deep Multimodal Clustering for Unsupervised Audiovisual Learning", CVPR, arXiv
    1807.03094). It reads the encoders' maps; `losses/soft_clusters.py` has the equations, and what
    the released codes do otherwise.

    form `projected`, the paper's: `num_clusters` 10 with projections to `width` 16 that pictures and
    sounds share (so that their maps need equally many channels), 3 routings; score = sum over
    clusters of the cosine of the two centers; loss = mean relu(num_clusters + wrong - right).
    `routing_sharpness` is the paper's 1 by default; more of it tells positions apart. `norm_maps` puts
    BatchNorm without scale and bias before the projections, for encoders that start from nothing: what all
    positions share, the mean of channels that are never negative, is else most of each vector once all
    have unit length. The published networks start trained.

    form `simplified`, the authors' later code: a linear layer per modality at each position, soft
    k-means with `video_clusters` 2 and `audio_clusters` 1 (for one source: it and the background),
    `sharpness` 30, 4 iterations; the distance of each audio center to its nearest video center;
    contrastive loss with `margin`. For two sources take 3 and 2.

    The wrong pair is the picture with another clip's sound, or with each of the batch
    (`all_negatives`: no more encoding and a steadier gradient; all of a batch weigh as much as its
    right pairs). `video_assignment_entropy` and `audio_assignment_entropy` among the metrics say
    how undecided the clusters are: 1 is all alike, where maps show nothing.

    Departures. The wrong sound is another clip's of the batch (`pairs.py`). In the simplified form
    vectors have unit length by default, with margin 1: as released (`normalise=False, margin=5`)
    the first distances lie far beyond the margin, and wrong pairs teach nothing until the right ones
    have shrunk. All frames of a clip are clustered together, where both codes see one.

    In evaluation `heads` also gives maps in 0..1, in cells of the video encoder's map and averaged over
    its frames. `video_maps` [batch, k, height, width]: of the projected form the assignment to each
    cluster, those whose two centers agree best first; of the simplified one, for each audio cluster,
    the assignment to its nearest video cluster. `video_map` [batch, height, width], where any sound
    comes from: the first of them, or the largest at each position.
    """

    form: str = "projected"
    num_clusters: int = 10
    width: int = 16
    num_routings: int = 3
    routing_sharpness: float | None = None
    norm_maps: bool = False
    all_negatives: bool = False
    video_clusters: int = 2
    audio_clusters: int = 1
    sharpness: float = 30.0
    num_iterations: int = 4
    channels: int = 512
    normalise: bool = True
    margin: float = 1.0

    def setup(self) -> None:
        if self.projected:
            self.shared_projections = SharedProjections(
                self.num_clusters,
                self.width,
                self.num_routings,
                self.routing_sharpness or 1.0,
                self.dtype,
            )
            if self.norm_maps:
                self.video_norm = BatchNorm(affine=False, dtype=self.dtype)
                self.audio_norm = BatchNorm(affine=False, dtype=self.dtype)
        else:
            self.video_layer = nn.Dense(self.channels, dtype=self.dtype, param_dtype=self.dtype)
            self.audio_layer = nn.Dense(self.channels, dtype=self.dtype, param_dtype=self.dtype)

    @property
    def projected(self) -> bool:
        return self.form == "projected"

    def views(self, table: Mapping[str, View]) -> dict[str, View]:
        if self.form not in FORMS:
            raise unknown(f"form of {self.config_key}", self.form, FORMS)
        for name in COUNTS:
            if getattr(self, name) < 1:
                raise UsageError(f"{self.config_key}.{name} must be at least 1")
        if self.routing_sharpness is not None and self.routing_sharpness <= 0:
            raise UsageError(f"{self.config_key}.routing_sharpness must be more than 0")
        if self.norm_maps and not self.projected:
            raise UsageError(
                f"{self.config_key}.norm_maps is of form=projected: the simplified one has normalise"
            )
        return super().views(table)

    def heads(self, features: Mapping[Read, Features], batch: Batch, *, train: bool) -> Outputs:
        video_map = self.map_of(features, self.video_read, self.config_key)
        audio_map = self.map_of(features, self.audio_read, self.config_key)
        if self.projected and video_map.shape[-1] != audio_map.shape[-1]:
            raise UsageError(
                f"{self.config_key} projects pictures and sounds alike, but their maps have "
                f"{video_map.shape[-1]} and {audio_map.shape[-1]} channels: give encoders of equal "
                f"width, or set {self.config_key}.form=simplified"
            )
        video, assignment = self.clustered(positions(video_map), "video", train=train)
        audio, audio_assignment = self.clustered(positions(audio_map), "audio", train=train)
        outputs = {
            "video": video.reshape(len(video), -1),
            "audio": audio.reshape(len(audio), -1),
            "video_entropy": assignment_entropy(assignment),
            "audio_entropy": assignment_entropy(audio_assignment),
        }
        if not train:
            outputs.update(self.heat_maps(video, audio, assignment, video_map.shape[-3:-1]))
        return outputs

    def clustered(self, vectors: Array, modality: str, *, train: bool) -> tuple[Array, Array]:
        """Centers [batch, k, d] and assignment [batch, k, positions]."""
        if self.projected:
            if self.norm_maps:
                norm = self.video_norm if modality == "video" else self.audio_norm
                vectors = norm(vectors, train=train)
            return self.shared_projections(vectors)
        layer = self.video_layer if modality == "video" else self.audio_layer
        vectors = layer(vectors)
        if self.normalise:
            vectors = unit_rows(vectors.reshape(-1, self.channels)).reshape(vectors.shape)
        return soft_kmeans(
            vectors,
            num_clusters=self.video_clusters if modality == "video" else self.audio_clusters,
            num_iterations=self.num_iterations,
            sharpness=self.sharpness,
        )

    def heat_maps(
        self, video: Array, audio: Array, assignment: Array, height_and_width: tuple[int, ...]
    ) -> Outputs:
        maps = assignment.reshape(*assignment.shape[:2], -1, *height_and_width).mean(axis=2)
        if self.projected:
            order = jnp.argsort(-cluster_cosines(audio, video), axis=1)
            chosen = jnp.take_along_axis(maps, order[:, :, None, None], axis=1)
            return {"video_map": chosen[:, 0], "video_maps": chosen}
        nearest = jnp.argmin(center_distances(audio, video), axis=2)
        chosen = jnp.take_along_axis(maps, nearest[:, :, None, None], axis=1)
        return {"video_map": chosen.max(axis=1), "video_maps": chosen}

    def __call__(self, outputs: Outputs, batch: Batch, *, train: bool) -> Outcome:
        present = self.both_present(batch)
        loss, metrics = self.compared(outputs, batch, present)
        undecided = {
            f"{name}_assignment_entropy": mean_present(outputs[f"{name}_entropy"], present)
            for name in ("video", "audio")
        }
        return Outcome(loss, {**metrics, **undecided})

    def compared(
        self, outputs: Outputs, batch: Batch, present: Array
    ) -> tuple[Array, dict[str, Array]]:
        if self.projected and self.all_negatives:
            scores = self.similarity(outputs["video"], outputs["audio"])
            usable = negative_mask(batch["index"], present)
            right = jnp.broadcast_to(jnp.diagonal(scores)[:, None], scores.shape)
            return self.max_margin(right.ravel(), scores.ravel(), usable.ravel())
        pairs = pairs_of_batch(
            self.make_rng("draw"), batch["index"], present, all_negatives=self.all_negatives
        )
        video, audio = outputs["video"][pairs.video], outputs["audio"][pairs.audio]
        if self.projected:
            right, wrong = jnp.split(self.row_similarity(video, audio), 2)
            return self.max_margin(right, wrong, jnp.split(pairs.usable, 2)[1])
        return contrastive_distance_loss(
            self.distances(video, audio), pairs.corresponds, margin=self.margin,
            present=pairs.usable, weights=pairs.weight if self.all_negatives else None,
        )  # fmt: skip

    def max_margin(
        self, right: Array, wrong: Array, usable: Array
    ) -> tuple[Array, dict[str, Array]]:
        return max_margin_loss(right, wrong, margin=float(self.num_clusters), present=usable)

    def distances(self, video: Array, audio: Array) -> Array:
        """From each audio center to the nearest video center, [batch, audio clusters]."""
        video = video.reshape(len(video), self.video_clusters, self.channels)
        audio = audio.reshape(len(audio), self.audio_clusters, self.channels)
        return jnp.min(center_distances(audio, video), axis=2)

    def unit_centers(self, flat: Array) -> Array:
        return unit_rows(flat.reshape(-1, self.width)).reshape(flat.shape)

    def joint(self, outputs: Outputs) -> tuple[Array, Array] | None:
        """Of the projected form: centers of unit length, whose mean cosine the score is."""
        if not self.projected:
            return None
        return self.unit_centers(outputs["video"]), self.unit_centers(outputs["audio"])

    def similarity(self, video: Array, audio: Array) -> Array:
        """The sum of cosines, or less the root of the summed squared distances."""
        if self.projected:
            return dot(self.unit_centers(video), self.unit_centers(audio).T)

        def against_all(one_video: Array) -> Array:
            return self.row_similarity(
                jnp.broadcast_to(one_video[None], (len(audio), len(one_video))), audio
            )

        # Row by row: the centers' differences of all pairs at once would not fit.
        return jax.lax.map(against_all, video)

    def row_similarity(self, video: Array, audio: Array) -> Array:
        if self.projected:
            return jnp.sum(self.unit_centers(video) * self.unit_centers(audio), axis=-1)
        return -jnp.sqrt(jnp.sum(self.distances(video, audio) ** 2, axis=-1))


def positions(feature_map: Array) -> Array:
    """[batch, ..., channels] as a list of vectors, in the order of time, then rows, then columns."""
    return feature_map.reshape(len(feature_map), -1, feature_map.shape[-1])
