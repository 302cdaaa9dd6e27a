"""Multimodal Clustering Networks: one space, one clustering, and what came in can be made out again."""

import math
from collections.abc import Mapping
from typing import ClassVar

import jax.numpy as jnp
from flax import linen as nn
from jax import Array, lax

from avssl.data.views import View
from avssl.errors import UsageError
from avssl.losses.contrastive import unit_rows
from avssl.losses.multimodal_clusters import (
    clustering_loss,
    fuse,
    nearest_centroids,
    online_clusters,
    pairwise_contrastive,
    reconstruction_loss,
)
from avssl.losses.precision import dot
from avssl.models.features import Features
from avssl.models.gated import GatedEmbedding, GatedProjection
from avssl.models.reconstruction import Reconstruction
from avssl.objectives.base import Batch, Objective, Outcome, Outputs, Read
from avssl.objectives.blocks import num_blocks

MODALITIES = ("video", "audio")


class Mcn(Objective):
    """Contrast between modalities, a common online clustering, and reconstruction.

    Chen, Rouditchenko et al. 2021 ("Multimodal Clustering Networks for Self-Supervised Learning from
    Unlabeled Videos", ICCV, arXiv 2104.12671), equations and constants in
    `losses/multimodal_clusters.py`: masked margin softmax (margin 0.001) of plain dot products + 1 *
    cross-entropy of each modality to the centroid of the fused (mean) embedding +
    `reconstruction_weight` 50 * squared error of the encoders' outputs. Video enters by a gated unit,
    audio by one of `audio_gated_width` and a linear layer. Paper: `embedding_width` 6144,
    `num_clusters` 256, `audio_gated_width` and `reconstruction_width` 1024, a queue of 20 x 2048
    rows; the defaults are sized for small encoders. Video and audio only: there is no text yet.

    Clusters: every `refit_every_steps` steps (paper 20) cosine k-means from the present centroids
    over the batch and, once it is full, the queue; between them each row goes to its nearest
    centroid. The first half of each batch goes to the queue, `queue_rows` being a multiple of that.
    Centroids start as rows of the first batch, and anew every `restart_every_steps` (released: every
    epoch, that is, num_records // batch_size); 0 never does. An empty cluster keeps its centroid.
    Until `cluster_from_step` (0 in the paper) the clustering loss does not count, which would make one
    cluster of embeddings that still lie close together. `kmeans_empty_to_zero` and
    `same_record_negatives` give the released behaviour.

    `normalise` scales embeddings to the length 1 / sqrt(temperature), so that dot products are cosines
    divided by it; the paper's have no fixed length, which wants its small learning rate. `blocks`: as of xid,
    of the contrast.

    Departures. Each row is a clip of its own record, where the paper has 32 clips of each video and
    queues 16 of them. The paper reconstructs fixed video features of unit length, and the output of
    the audio encoder. Here both encoders train: their outputs are targets of unit length (the
    weight of 50 is one for small numbers) and without gradient, else shrinking them would lower the
    loss. `target_gradient` lets it reach the audio encoder, and `unit_targets=False` leaves lengths
    alone, as released. Reconstructions are at least 0, as the outputs of encoders that end in a ReLU
    are; what is negative elsewhere stays as an error.
    """

    embedding_width: int = 512
    audio_gated_width: int = 512
    reconstruction_width: int = 512
    normalise: bool = False
    temperature: float = 0.1
    margin: float = 0.001
    same_record_negatives: bool = False
    blocks: int | None = None
    cluster_weight: float = 1.0
    cluster_from_step: int = 0
    num_clusters: int = 64
    queue_rows: int = 2048
    refit_every_steps: int = 20
    restart_every_steps: int = 0
    kmeans_iterations: int = 100
    kmeans_empty_to_zero: bool = False
    reconstruction_weight: float = 50.0
    target_gradient: bool = False
    unit_targets: bool = True

    bounds: ClassVar[Mapping[str, tuple[float, float]]] = {"kmeans_iterations": (1, math.inf)}

    heads_read_memory = True

    def setup(self) -> None:
        self.video_head = GatedEmbedding(self.embedding_width, dtype=self.dtype)
        self.audio_head = GatedProjection(
            self.audio_gated_width, self.embedding_width, dtype=self.dtype
        )
        if self.reconstruction_weight:
            self.video_decoder = Reconstruction(self.reconstruction_width, dtype=self.dtype)
            self.audio_decoder = Reconstruction(self.reconstruction_width, dtype=self.dtype)

    def views(self, table: Mapping[str, View]) -> dict[str, View]:
        for name in ("num_clusters", "queue_rows", "refit_every_steps"):
            if getattr(self, name) < 1:
                raise UsageError(f"{self.config_key}.{name} must be at least 1")
        return super().views(table)

    def heads(self, features: Mapping[Read, Features], batch: Batch, *, train: bool) -> Outputs:
        video = features[self.video_read].embedding
        audio = features[self.audio_read].embedding
        outputs = {
            "video": self.scaled(self.video_head(video)),
            "audio": self.scaled(self.audio_head(audio)),
        }
        if self.reconstruction_weight:
            video = self.target(lax.stop_gradient(video))
            audio = self.target(audio if self.target_gradient else lax.stop_gradient(audio))
            outputs["video_error"] = self.video_decoder(outputs["video"], video, train=train)
            outputs["audio_error"] = self.audio_decoder(outputs["audio"], audio, train=train)
        centroids = self.get_variable("memory", "centroids")  # made by the first loss
        if not train and centroids is not None:
            outputs |= self.named(outputs, batch, centroids)
        return outputs

    def named(self, outputs: Outputs, batch: Batch, centroids: Array) -> Outputs:
        """The number of the centroid that is nearest to each embedding, and to their mean."""
        embeddings = {name: outputs[name] for name in MODALITIES}
        fused, _ = fuse(embeddings, self.present(batch))
        every = {**embeddings, "joint": fused}
        return {f"{name}_cluster": nearest_centroids(x, centroids) for name, x in every.items()}

    def clusters(self, outputs: Outputs) -> dict[str, Array]:
        kinds = (*MODALITIES, "joint")
        return {kind: outputs[f"{kind}_cluster"] for kind in kinds if f"{kind}_cluster" in outputs}

    def present(self, batch: Batch) -> dict[str, Array]:
        return {
            "video": batch["present"][self.video_view],
            "audio": batch["present"][self.audio_view],
        }

    def scaled(self, embedding: Array) -> Array:
        return unit_rows(embedding) / self.temperature**0.5 if self.normalise else embedding

    def target(self, features: Array) -> Array:
        return unit_rows(features) if self.unit_targets else features

    @nn.compact
    def __call__(self, outputs: Outputs, batch: Batch, *, train: bool) -> Outcome:
        embeddings = {name: outputs[name] for name in MODALITIES}
        present = self.present(batch)
        contrast, metrics = pairwise_contrastive(
            embeddings, present, index=batch["index"], margin=self.margin,
            same_record_negatives=self.same_record_negatives,
            blocks=num_blocks(self.blocks, batch, train=train, key=self.config_key),
        )  # fmt: skip
        fused, is_member = fuse(embeddings, present)
        labels, centroids = self.clustered(fused, is_member, batch["step"], train=train)
        clustering = clustering_loss(
            embeddings, present, centroids=centroids, labels=labels, margin=self.margin
        )
        counts = (batch["step"] >= self.cluster_from_step).astype(clustering.dtype)
        loss = contrast + self.cluster_weight * counts * clustering
        metrics |= {"contrastive_loss": contrast, "clustering_loss": clustering}
        if self.reconstruction_weight:
            errors = {name: outputs[f"{name}_error"] for name in MODALITIES}
            reconstruction = reconstruction_loss(errors, present)
            loss = loss + self.reconstruction_weight * reconstruction
            metrics["reconstruction_loss"] = reconstruction
        members = jnp.zeros(self.num_clusters, jnp.int32).at[labels].add(is_member)
        metrics["clusters_of_batch"] = jnp.sum(members > 0).astype(self.dtype)
        return Outcome(loss, metrics)

    def clustered(
        self, fused: Array, present: Array, step: Array, *, train: bool
    ) -> tuple[Array, Array]:
        """The cluster of each row, and the centroids; queue and centroids move on in training."""

        def rows(name: str, number: int) -> nn.Variable[Array]:
            return self.variable(
                "memory", name, jnp.zeros, (number, self.embedding_width), self.dtype
            )

        queue, centroids = rows("queue", self.queue_rows), rows("centroids", self.num_clusters)
        batch_size = len(fused)
        queued = max(batch_size // 2, 1)
        if self.queue_rows < queued or self.queue_rows % queued:
            raise UsageError(
                f"{self.config_key} queues half of each batch, {queued} rows: set "
                f"{self.config_key}.queue_rows to a multiple of that, not {self.queue_rows}"
            )
        # No row has been clustered yet, or it is time to begin anew.
        restart = ~jnp.any(centroids.value != 0) | (step == self.cluster_from_step)
        if self.restart_every_steps:
            restart = restart | (step % self.restart_every_steps == 0)
        # Whether the queue is full shows in its rows; released, a flag beside it keeps it so.
        labels, new_centroids, new_queue, _ = online_clusters(
            queue.value, jnp.zeros((), bool), centroids.value, fused,
            present=present, key=self.make_rng("draw"), restart=restart,
            refit=step % self.refit_every_steps == 0,
            clips_per_video=batch_size, kept_per_video=queued,
            max_iterations=self.kmeans_iterations, empty_to_zero=self.kmeans_empty_to_zero,
        )  # fmt: skip
        if train:
            queue.value, centroids.value = new_queue, new_centroids.astype(self.dtype)
        return labels, new_centroids

    def similarity(self, video: Array, audio: Array) -> Array:
        """The dot product, as it is trained."""
        return dot(video, audio.T)

    def row_similarity(self, video: Array, audio: Array) -> Array:
        return jnp.sum(video * audio, axis=-1)
