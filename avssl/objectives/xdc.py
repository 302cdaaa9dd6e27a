"""Cross-modal deep clustering (XDC), and its relatives of one modality, two heads or joint clusters."""

import functools
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh

from avssl.errors import UsageError, unknown
from avssl.losses.contrastive import unit_rows
from avssl.losses.kmeans import kmeans, plus_plus_rows
from avssl.losses.pseudo_labels import balanced_class_weight, two_modality_loss
from avssl.models.features import Features
from avssl.objectives.alignment import best_permutation
from avssl.objectives.base import Batch, Objective, Outcome, Outputs, Owned, Read
from avssl.objectives.labels import (
    NO_LABEL,
    is_due,
    mesh_of,
    overlap,
    require_fewer_clusters,
    size_metrics,
    whole,
)

# Whose clusters teach the video, and whose the audio; the losses of a variant add up.
TEACHERS = {
    "xdc": (("audio", "video"),),
    "sdc": (("video", "audio"),),
    "mdc": (("audio", "video"), ("video", "audio")),
    "cdc": (("joint", "joint"),),
}
CLASSIFIERS = ("reset", "match")


class Xdc(Objective):
    """Each modality learns to name the k-means cluster of the other one's features.

    Alwassel, Mahajan, Korbar, Torresani, Ghanem & Tran 2020 ("Self-Supervised Learning by Cross-Modal
    Audio-Video Clustering", NeurIPS, arXiv 1911.12667; only models are released). loss = CE(video, cluster of
    the audio) + CE(audio, cluster of the video), a linear classifier on each encoder. `variant`: `sdc` learns
    the own clusters, `mdc` both with two heads per encoder, `cdc` those of the concatenated features.

    Every `refresh_every_steps` the features of all clips are taken from centre clips with running statistics
    and clustered into `num_clusters` (64 on Kinetics; 128 on AudioSet, 256 and more beyond) by k-means from
    k-means++ seeds. The ids of two clusterings have nothing to do with each other: the classifiers begin
    anew, moments included (`classifiers="reset"`), or stay and the new clusters are named like the old ones
    that they share most clips with (`"match"`, Hungarian). Clips that lack a modality get no label of it, and
    rows without a label are left out.

    As recalled, not verified: the reset, the sizes, and how often. Unknown, and choices: features of unit
    length before k-means (`normalise`); every cluster counts alike (`balanced`), as DeepCluster's sampling
    does, so that a dominant cluster is not all there is to learn; classifiers whose kernels start with a
    deviation of 0.01, also DeepCluster's, as features of any scale must not begin as certainties; and the
    first clustering only after `norm_warmup_steps` batches, which teach nothing but the encoders' running
    statistics (SeLaVi's warm-up), as features under initial ones are not what is trained.

    Metrics by clustered features: clusters with clips, the largest one's share, and `changed`, the share of
    clips that the last clustering moved to another cluster, after the best renaming.
    """

    variant: str = "xdc"
    num_clusters: int = 64
    refresh_every_steps: int = 2000
    norm_warmup_steps: int = 20
    normalise: bool = True
    balanced: bool = True
    classifiers: str = "reset"
    kmeans_iterations: int = 100

    refresh_pass = True

    def setup(self) -> None:
        self.check()
        self.predict = {
            head: nn.Dense(
                self.num_clusters,
                dtype=self.dtype,
                param_dtype=self.dtype,
                kernel_init=nn.initializers.normal(0.01),
            )
            for head in self.teachers
        }
        rows, clusters = (self.num_records,), (self.num_clusters,)
        self.memories = {
            name: (
                self.variable("memory", f"{name}_labels", jnp.full, rows, NO_LABEL, jnp.int32),
                self.variable("memory", f"{name}_sizes", jnp.zeros, clusters, jnp.int32),
                self.variable("memory", f"{name}_changed", jnp.zeros, (), self.dtype),
            )
            for name in self.clustered
        }

    def check(self) -> None:
        key = self.config_key
        if self.variant not in TEACHERS:
            raise unknown(f"{key}.variant", self.variant, TEACHERS)
        if self.classifiers not in CLASSIFIERS:
            raise unknown(f"{key}.classifiers", self.classifiers, CLASSIFIERS)
        require_fewer_clusters(
            key, self.num_records, self.num_clusters,
            f"set {key}.num_clusters to fewer, or take data with more records",
        )  # fmt: skip
        if self.refresh_every_steps < 1 or self.kmeans_iterations < 1 or self.norm_warmup_steps < 0:
            raise UsageError(
                f"{key}: refresh_every_steps and kmeans_iterations must be at least 1, norm_warmup_steps 0"
            )

    @property
    def waits_by(self) -> str:
        return "norm_warmup_steps"

    @property
    def teachers(self) -> dict[str, str]:
        """Whose clusters each classifier names."""
        heads = {}
        for video_teacher, audio_teacher in TEACHERS[self.variant]:
            heads[f"video_from_{video_teacher}"] = video_teacher
            heads[f"audio_from_{audio_teacher}"] = audio_teacher
        return heads

    @property
    def clustered(self) -> tuple[str, ...]:
        """The features that are clustered: video, audio, or both as one."""
        return tuple(sorted(set(self.teachers.values())))

    def heads(self, features: Mapping[Read, Features], batch: Batch, *, train: bool) -> Outputs:
        return self.logits(features[self.video_read].embedding, features[self.audio_read].embedding)

    def logits(self, video: Array, audio: Array) -> Outputs:
        return {
            head: classify(video if head.startswith("video") else audio)
            for head, classify in self.predict.items()
        }

    def __call__(self, outputs: Outputs, batch: Batch, *, train: bool) -> Outcome:
        targets = {
            name: labels.value[batch["index"]] for name, (labels, _, _) in self.memories.items()
        }
        weights: dict[str, Array | None] = dict.fromkeys(self.clustered)
        metrics = {}
        for name, (_, sizes, changed) in self.memories.items():
            found = {**size_metrics(sizes.value, self.dtype), "changed": changed.value}
            metrics |= {f"{name}_{metric}": value for metric, value in found.items()}
            if self.balanced:
                weights[name] = balanced_class_weight(sizes.value)
        total = jnp.zeros((), self.dtype)
        for of_video, of_audio in TEACHERS[self.variant]:
            loss, found = two_modality_loss(
                outputs[f"video_from_{of_video}"],
                outputs[f"audio_from_{of_audio}"],
                video_targets=targets[of_video],
                audio_targets=targets[of_audio],
                video_present=batch["present"][self.video_view],
                audio_present=batch["present"][self.audio_view],
                video_class_weight=weights[of_video],
                audio_class_weight=weights[of_audio],
            )
            total = total + loss
            metrics[f"video_from_{of_video}_accuracy"] = found["video_accuracy"]
            metrics[f"audio_from_{of_audio}_accuracy"] = found["audio_accuracy"]
        return Outcome(total, metrics)

    def clusters(self, outputs: Outputs) -> dict[str, Array]:
        """What the classifiers say; of `mdc` those that the other modality teaches."""
        of_video, of_audio = TEACHERS[self.variant][0]
        return {
            "video": jnp.argmax(outputs[f"video_from_{of_video}"], axis=1),
            "audio": jnp.argmax(outputs[f"audio_from_{of_audio}"], axis=1),
        }

    def refresh_due(self, step: int) -> bool:
        return is_due(step, self.norm_warmup_steps, self.refresh_every_steps)

    def refresh_outputs(self, features: Mapping[Read, Features], batch: Batch) -> Outputs:
        return {
            **super().refresh_outputs(features, batch),
            "video_present": batch["present"][self.video_view],
            "audio_present": batch["present"][self.audio_view],
        }

    def refresh(self, owned: Owned, kept: Outputs, seen: Array, step: int, key: Array) -> Owned:
        """New clusters, and classifiers that know nothing of the old ones' names."""
        head_key, *keys = jax.random.split(key, 1 + len(self.clustered))
        memory = dict(owned.memory)
        for name, own_key in zip(self.clustered, keys, strict=True):
            memory |= self.clustered_anew(own_key, name, memory, kept, seen)
        if self.classifiers == "match":
            return Owned(owned.params, memory)
        return Owned(fresh_parameters(self, head_key, kept["video"], kept["audio"]), memory)

    def clustered_anew(
        self, key: Array, name: str, memory: Mapping[str, Any], kept: Outputs, seen: Array
    ) -> dict[str, Any]:
        """The memory of one kind of features."""
        old = memory[f"{name}_labels"]
        labels, sizes, shared = cluster(
            key, name, kept, seen, old,
            num_clusters=self.num_clusters, normalise=self.normalise,
            max_iterations=self.kmeans_iterations, mesh=mesh_of(kept["video"]),
        )  # fmt: skip
        table = np.asarray(shared)
        if (num_rows := int(np.sum(np.asarray(sizes)))) < self.num_clusters:
            raise UsageError(
                f"{self.config_key} cannot make {self.num_clusters} clusters of the {num_rows} records that "
                f"could be read with their {name} features: set {self.config_key}.num_clusters to fewer"
            )
        renamed = best_permutation(-table)
        num_both = max(table.sum(), 1)
        changed = 1.0 - table[np.arange(self.num_clusters), renamed].sum() / num_both
        if self.classifiers == "match":
            old_name = np.argsort(renamed).astype(np.int32)
            labels, sizes = rename(labels, sizes, old_name, renamed)
        return {
            f"{name}_labels": labels,
            f"{name}_sizes": sizes,
            f"{name}_changed": jnp.asarray(changed, self.dtype),
        }


@functools.partial(
    jax.jit, static_argnames=("name", "num_clusters", "normalise", "max_iterations", "mesh")
)
def cluster(
    key: Array,
    name: str,
    kept: Outputs,
    seen: Array,
    old: Array,
    *,
    num_clusters: int,
    normalise: bool,
    max_iterations: int,
    mesh: Mesh | None,
) -> tuple[Array, Array, Array]:
    """Labels of all records, the clusters' sizes, and how many clips old and new clusters share."""
    modalities = ("video", "audio") if name == "joint" else (name,)
    present = functools.reduce(jnp.logical_and, [kept[f"{m}_present"] for m in modalities], seen)
    parts = [unit_rows(kept[m]) if normalise else kept[m] for m in modalities]
    # Rows that nobody has filled may be anything; a norm of zeros must not make them NaN.
    features = jnp.where(present[:, None], jnp.concatenate(parts, axis=1), 0.0)
    initial = plus_plus_rows(key, features, num_clusters, present=present)
    found = kmeans(features, initial, present=present, max_iterations=max_iterations)
    labels = found["labels"][: len(old)]
    return labels, *whole((found["sizes"], overlap(old, labels, num_clusters)), mesh)


@jax.jit
def rename(labels: Array, sizes: Array, names: Array, order: Array) -> tuple[Array, Array]:
    """Cluster j gets the name names[j]; `order` is the inverse."""
    return jnp.where(labels >= 0, names[jnp.maximum(labels, 0)], labels), sizes[order]


@functools.partial(jax.jit, static_argnums=0)
def fresh_parameters(objective: Xdc, key: Array, video: Array, audio: Array) -> Any:
    """The classifiers as they are initialised, from another key."""
    return objective.init({"params": key}, video[:1], audio[:1], method="logits")["params"]
