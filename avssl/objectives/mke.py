"""Multimodal knowledge expansion: a teacher of one modality names clips, a student of both learns the names."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jax import Array

from avssl.errors import UsageError
from avssl.losses.knowledge_expansion import expansion_loss, hard_labels, relative_noise
from avssl.models.features import Features
from avssl.models.heads import ProjectionMLP
from avssl.objectives.base import Batch, Outcome, Outputs, Read, Target
from avssl.objectives.modalities import ModalitiesObjective


class Mke(ModalitiesObjective):
    """Cross-entropy with the teacher's classes as labels, of a student on transformed inputs; no other label.

    Xue, Ren, Gao & Zhao 2021 ("Multimodal Knowledge Expansion", ICCV, arXiv 2103.14431; code: zihuixue/MKE, a
    notebook on two moons). The student is an MLP with hidden layers of `hidden_widths` on the embeddings of
    `modalities` one after the other; the teacher, trained on few labels, is asked for logits. The loss is
    `losses/knowledge_expansion.py`.

    The student's views are transformed (crops, colours, volume), the teacher's must not be: give it a view of
    its own without draws, or a store of `avssl teach`, so that a clip has one name in all steps. noise: of the
    embeddings before the MLP, in shares of their mean size, drawn anew in each step (alpha, 1 as released on
    the network's input). consistency_weight: of the divergence between the answers with and without that noise.
    soft: the teacher's probabilities in place of its class. `modalities` of one is the unimodal student that
    the paper compares with.

    Departures: noise on embeddings, of each modality by its own size, in place of noise on the input, which the
    views' draws transform; no noise on the hidden layer (beta, 0 as released). Clips that lack one of the
    modalities, or the teacher's, are left out. Columns are the teacher's classes, which are scored where they
    are the data's.
    """

    teacher: str = "teacher"
    hidden_widths: tuple[int, ...] = (512,)
    noise: float = 0.0
    consistency_weight: float = 0.0
    soft: bool = False

    def setup(self) -> None:
        if self.consistency_weight and not self.noise:
            raise UsageError(
                f"{self.config_key}.consistency_weight compares answers with and without noise: set "
                f"{self.config_key}.noise too, such as 1.0"
            )
        num_classes = self.target_shapes[self.teacher]["logits"][-1]
        self.classifier = ProjectionMLP((*self.hidden_widths, num_classes), dtype=self.dtype)

    def targets(self) -> tuple[Target, ...]:
        return (Target(self.teacher, "logits"),)

    def both_present(self, batch: Batch) -> Array:
        return jnp.stack([batch["present"][read.view] for read in self.reads()]).all(axis=0)

    def heads(self, features: Mapping[Read, Features], batch: Batch, *, train: bool) -> Outputs:
        embeddings = {
            f"{modality}_embedding": features[read].embedding
            for modality, read in self.chosen_reads.items()
        }
        joined = jnp.concatenate(list(embeddings.values()), axis=1)
        return {**embeddings, "logits": self.classifier(joined, train=train)}

    def __call__(self, outputs: Outputs, batch: Batch, *, train: bool) -> Outcome:
        taught = self.both_present(batch) & batch["taught"][self.teacher]
        said = batch["targets"][self.teacher]["logits"]
        clean = outputs["logits"]
        loss, metrics = expansion_loss(
            self.transformed_logits(outputs, batch["row"], taught, train) if self.noise else clean,
            jax.nn.softmax(said) if self.soft else hard_labels(said, present=taught),
            present=taught,
            clean_logits=clean,
            consistency_weight=self.consistency_weight,
        )
        return Outcome(loss, {**metrics, "taught": jnp.sum(taught).astype(self.dtype)})

    def transformed_logits(
        self, outputs: Outputs, rows: Array, present: Array, train: bool
    ) -> Array:
        """Of noisy embeddings; here and not in `heads`, as the size of the noise is that of the whole batch."""
        key = self.make_rng("draw")
        moved = []
        for number, modality in enumerate(self.chosen_reads):
            embedding = outputs[f"{modality}_embedding"]
            own_key = jax.random.fold_in(key, number)
            noise = jax.vmap(
                lambda row, own_key=own_key, embedding=embedding: jax.random.normal(
                    jax.random.fold_in(own_key, row), embedding.shape[1:], embedding.dtype
                )
            )(rows)
            moved.append(relative_noise(embedding, noise, scale=self.noise, present=present))
        return self.classifier(jnp.concatenate(moved, axis=1), train=train)

    def label_logits(self, outputs: Outputs) -> dict[str, Array]:
        of_labels = self.teacher in self.teachers_of_labels
        return {self.who: outputs["logits"]} if of_labels else {}

    def clusters(self, outputs: Outputs) -> dict[str, Array]:
        return {self.who: jnp.argmax(outputs["logits"], axis=-1)}
