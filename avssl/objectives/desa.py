"""Minimising disagreement: each modality is the other's teacher, with codebooks or by gradient."""

import functools
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import Mesh
from jax.typing import DTypeLike

from avssl.errors import UsageError, unknown
from avssl.losses.contrastive import unit_rows
from avssl.losses.disagreement import (
    classify,
    competitive_labels,
    disagreement_rate,
    minimise_disagreement,
    soft_class_logits,
    soft_disagreement,
)
from avssl.losses.kmeans import nearest_centroid, random_rows
from avssl.losses.precision import dot
from avssl.models.features import Features
from avssl.models.heads import ProjectionMLP
from avssl.objectives.base import Batch, Objective, Outcome, Outputs, Owned, Read
from avssl.objectives.labels import NO_LABEL, cluster_sizes, mesh_of, size_metrics, whole

FORMS = ("gradient", "codebook")
MODALITIES = ("video", "audio")


class SoftPrototypes(nn.Module):
    """Classes of learnt prototypes; each class has as many."""

    num_classes: int
    num_prototypes: int
    temperature: float
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: Array) -> Array:
        shape = (self.num_classes, self.num_prototypes, x.shape[-1])

        def on_the_sphere(key: Array) -> Array:
            drawn = jax.random.normal(key, (shape[0] * shape[1], shape[2]), self.dtype)
            return unit_rows(drawn).reshape(shape)

        prototypes = self.param("prototypes", on_the_sphere)
        return soft_class_logits(x, prototypes, temperature=self.temperature)


class Codebook(nn.Module):
    """Prototypes [p, d] and their labels [p]; at first all are one point of one class, and rest."""

    num_prototypes: int
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: Array) -> tuple[nn.Variable, nn.Variable]:
        shape = (self.num_prototypes, x.shape[-1])
        prototypes = self.variable("memory", "prototypes", jnp.zeros, shape, self.dtype)
        labels = self.variable("memory", "labels", jnp.zeros, shape[:1], jnp.int32)
        return prototypes, labels


class Desa(Objective):
    """Video and audio each classify by nearest prototype, and learn to name the same class.

    de Sa 1993 ("Learning Classification with Unlabeled Data", NIPS 6). There is no code, and the form of the
    updates and all constants are as recalled, not verified. `num_classes` classes of `num_prototypes` (3)
    prototypes each, in each modality; features of unit length (`normalise`).

    form `codebook`, the algorithm of 1993 on the features as they are: the loss is 0 and no encoder learns
    from it. Before step `labels_at_step` a pass over all clips draws random ones for prototypes and gives
    these the labels of a competitive layer that sees both modalities' winners. From then on the pairs of each
    batch, one after the other, move the prototypes (`losses/disagreement.py`), with a step size and a window
    that fall linearly from `step_size` and `window` to 0 over `decay_steps`. A step has that length wherever
    the clip lies; with `unnormalised_step` it is that share of the way to the clip, as in LVQ2.1. For encoders
    that another objective trains or `init_from` gives; without one they only collect their running statistics,
    and weight decay should be 0.

    form `gradient`: the same aim for encoders that are trained. The prototypes are parameters behind a
    projection with BatchNorm (`projection`), the classes are soft (`temperature` 0.2 of squared distances,
    which is a cosine over 0.1), and the loss is `soft_disagreement`: cross-entropy with the other modality's
    sharpened classes (`sharpness`), and `marginal_weight` times what the batch's mean assignment lacks of all
    classes alike. All but the disagreement is of later work (PAWS, Assran et al. 2021); the paper has none of
    it. With s the sharpness, near the even mixture of all classes, what clips and modalities have in common
    grows unless marginal_weight > s - 1, and what tells clips apart grows only where the modalities' logits
    correlate by more than 1 / s. Hence 10 and 10: at 4 and 2 every clip of the world ended in one same
    mixture of classes.
    """

    form: str = "gradient"
    num_classes: int = 10
    num_prototypes: int = 3
    normalise: bool = True
    projection: tuple[int, ...] = (512, 128)
    temperature: float = 0.2
    sharpness: float = 10.0
    marginal_weight: float = 10.0
    labels_at_step: int = 20
    decay_steps: int = 1000
    step_size: float = 0.01
    window: float = 0.1
    unnormalised_step: bool = False

    refresh_pass = True

    def setup(self) -> None:
        self.check()
        if self.form == "codebook":
            self.video_codebook = Codebook(self.codebook_size, self.dtype)
            self.audio_codebook = Codebook(self.codebook_size, self.dtype)
            return
        each = self.num_classes, self.num_prototypes, self.temperature, self.dtype
        self.video_prototypes = SoftPrototypes(*each)
        self.audio_prototypes = SoftPrototypes(*each)
        if self.projection:
            self.video_head = ProjectionMLP(self.projection, batch_norm=True, dtype=self.dtype)
            self.audio_head = ProjectionMLP(self.projection, batch_norm=True, dtype=self.dtype)

    def check(self) -> None:
        if self.form not in FORMS:
            raise unknown(f"form of {self.config_key}", self.form, FORMS)
        if self.num_classes < 2 or self.num_prototypes < 1:
            raise UsageError(f"{self.config_key} needs at least 2 classes of at least 1 prototype")
        if self.decay_steps < 1 or self.labels_at_step < 0:
            raise UsageError(f"{self.config_key}: decay_steps must be at least 1, labels_at_step 0")

    @property
    def waits_by(self) -> str:
        return "labels_at_step" if self.form == "codebook" else ""

    @property
    def codebook_size(self) -> int:
        return self.num_classes * self.num_prototypes

    @property
    def heads_read_memory(self) -> bool:
        return self.form == "codebook"

    def heads(self, features: Mapping[Read, Features], batch: Batch, *, train: bool) -> Outputs:
        video = features[self.video_read].embedding
        audio = features[self.audio_read].embedding
        if self.form == "gradient":
            if self.projection:
                video = self.video_head(video, train=train)
                audio = self.audio_head(audio, train=train)
            return {
                "video": self.video_prototypes(self.scaled(video)),
                "audio": self.audio_prototypes(self.scaled(audio)),
            }
        video, audio = jax.lax.stop_gradient((self.scaled(video), self.scaled(audio)))
        outputs = {"video_features": video, "audio_features": audio}
        if not train:
            books = self.codebooks(video, audio)
            outputs |= {
                f"{name}_class": classify(outputs[f"{name}_features"], books[name])
                for name in MODALITIES
            }
        return outputs

    def scaled(self, features: Array) -> Array:
        return unit_rows(features) if self.normalise else features

    def variables_of_codebooks(self, video: Array, audio: Array) -> Any:
        return {"video": self.video_codebook(video), "audio": self.audio_codebook(audio)}

    def codebooks(self, video: Array, audio: Array) -> Any:
        return {
            name: {"prototypes": prototypes.value, "labels": labels.value}
            for name, (prototypes, labels) in self.variables_of_codebooks(video, audio).items()
        }

    def __call__(self, outputs: Outputs, batch: Batch, *, train: bool) -> Outcome:
        present = self.both_present(batch)
        if self.form == "gradient":
            return Outcome(
                *soft_disagreement(
                    outputs["video"],
                    outputs["audio"],
                    present=present,
                    sharpness=self.sharpness,
                    marginal_weight=self.marginal_weight,
                )
            )
        video, audio = outputs["video_features"], outputs["audio_features"]
        variables = self.variables_of_codebooks(video, audio)
        books = self.codebooks(video, audio)
        since = (batch["step"] - self.labels_at_step).astype(self.dtype)
        left = jnp.maximum(1.0 - since / self.decay_steps, 0.0)
        *moved, trace = minimise_disagreement(
            books["video"], books["audio"], video, audio,
            step_size=jnp.full(len(video), self.step_size * left),
            window=jnp.full(len(video), self.window * left),
            # Before there are labels, all name one class and agree.
            present=present,
            normalised=not self.unnormalised_step,
        )  # fmt: skip
        if train:
            for name, book in zip(MODALITIES, moved, strict=True):
                variables[name][0].value = book["prototypes"].astype(self.dtype)
        return Outcome(jnp.zeros((), self.dtype), self.measured(trace, present))

    def measured(self, trace: Mapping[str, Array], present: Array) -> dict[str, Array]:
        """How often the modalities disagree, how many prototypes moved, and whether all classes are in use."""
        classes = trace["video_class"], trace["audio_class"]
        count = jnp.maximum(jnp.sum(present), 1)
        metrics = {"disagreement": disagreement_rate(*classes, present=present)}
        for name, found in zip(MODALITIES, classes, strict=True):
            sizes = cluster_sizes(jnp.where(present, found, NO_LABEL), self.num_classes)
            metrics |= {
                f"{name}_{metric}": value
                for metric, value in size_metrics(sizes, self.dtype).items()
            }
            metrics[f"{name}_moved"] = jnp.sum(trace[f"{name}_moved"]) / count
        return metrics

    def clusters(self, outputs: Outputs) -> dict[str, Array]:
        if self.form == "codebook":
            return {name: outputs[f"{name}_class"] for name in MODALITIES}
        return {name: jnp.argmax(outputs[name], axis=1) for name in MODALITIES}

    def joint(self, outputs: Outputs) -> tuple[Array, Array] | None:
        """Of the gradient form: the soft classes."""
        if self.form == "codebook":
            return None
        return jax.nn.softmax(outputs["video"]), jax.nn.softmax(outputs["audio"])

    def similarity(self, video: Array, audio: Array) -> Array:
        """How likely both modalities name one class."""
        return dot(jax.nn.softmax(video), jax.nn.softmax(audio).T)

    def row_similarity(self, video: Array, audio: Array) -> Array:
        return jnp.sum(jax.nn.softmax(video) * jax.nn.softmax(audio), axis=-1)

    def refresh_due(self, step: int) -> bool:
        return self.form == "codebook" and step == self.labels_at_step

    def refresh_outputs(self, features: Mapping[Read, Features], batch: Batch) -> Outputs:
        kept = super().refresh_outputs(features, batch)
        scaled = {name: self.scaled(kept[name]) for name in MODALITIES}
        return {**scaled, "present": self.both_present(batch)}

    def refresh(self, owned: Owned, kept: Outputs, seen: Array, step: int, key: Array) -> Owned:
        """Random clips for prototypes, and their labels by competitive learning."""
        codebooks, num_pairs = first_codebooks(
            key, kept, seen, num_classes=self.num_classes, size=self.codebook_size,
            mesh=mesh_of(kept["video"]),
        )  # fmt: skip
        if int(num_pairs) < self.codebook_size:
            raise UsageError(
                f"{self.config_key} draws {self.codebook_size} prototypes among the clips with picture and "
                f"sound, of which the data has {int(num_pairs)}: set {self.config_key}.num_prototypes to fewer"
            )
        return Owned(owned.params, codebooks)


@functools.partial(jax.jit, static_argnames=("num_classes", "size", "mesh"))
def first_codebooks(
    key: Array, kept: Outputs, seen: Array, *, num_classes: int, size: int, mesh: Mesh | None
) -> tuple[Any, Array]:
    """Both codebooks with labels, and among how many pairs they were drawn."""
    present = kept["present"] & seen
    prototypes, winners = [], []
    for number, name in enumerate(MODALITIES):
        own_key = jax.random.fold_in(key, number)
        prototypes.append(random_rows(own_key, kept[name], size, present=present))
        winners.append(nearest_centroid(kept[name], prototypes[-1], present=present)[0])
    winners, present, prototypes = whole((winners, present, prototypes), mesh)
    labels = competitive_labels(
        jax.random.fold_in(key, len(MODALITIES)), *winners,
        num_prototypes=(size, size), num_classes=num_classes, present=present,
    )  # fmt: skip
    codebooks = {
        f"{name}_codebook": {"prototypes": own, "labels": label}
        for name, own, label in zip(MODALITIES, prototypes, labels, strict=True)
    }
    return codebooks, jnp.sum(present)
