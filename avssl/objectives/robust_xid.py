"""Cross-modal instance discrimination that doubts both its pairs and its negatives."""

import functools
import math
from collections.abc import Mapping
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax import Array

from avssl.losses.robust import (
    ESTIMATORS,
    FLOORS,
    agreement,
    agreement_weights,
    initial_statistics,
    robust_cross_modal_loss,
    soft_targets,
    update_statistics,
)
from avssl.models.features import Features
from avssl.objectives.base import Batch, Outcome, Outputs, Read
from avssl.objectives.blocks import num_blocks
from avssl.objectives.projected import ProjectedObjective


class RobustXid(ProjectedObjective):
    """Weighted, soft instance discrimination against averaged encoders (Morgado, Misra & Vasconcelos 2021).

    "Robust Audio-Visual Instance Discrimination" (arXiv 2103.15916): a pair weighs by how well its targets
    agree among all pairs (normal distribution function of the agreement, over running statistics), and the
    other candidates share `softness` of the target by their likeness, estimated cycle-consistently. Forms and
    constants with what is verified of them: `losses/robust.py`. There is no official code. Targets come from
    encoders and heads averaged by `ema.decay`, which must be set.

    `weighted` and `soft` switch the two parts off. Until `warmup_steps` the loss is plain xID: agreements mean
    nothing before embeddings have separated (a third party's advice; the paper's schedule is not verified).
    `init_from` a run of `xid`, whose heads it takes, stands for the warm-up: then leave that at 0.
    `queue_rows` > 0 keeps so many targets of past batches as further candidates. `blocks`: as of xid.
    """

    temperature: float = 0.07
    weighted: bool = True
    shift: float = 0.0
    kappa: float = 0.5
    least_weight: float = 0.25
    floor: str = "clip"
    statistics_momentum: float = 0.99
    soft: bool = True
    estimator: str = "cycle"
    softness: float = 0.5
    target_temperature: float = 0.02
    own_temperature: float = 0.07
    warmup_steps: int = 0
    queue_rows: int = 0
    blocks: int | None = None

    continues: ClassVar[tuple[str, ...]] = ("robust_xid", "xid")

    bounds: ClassVar[Mapping[str, tuple[float, float]]] = {
        "kappa": (1e-6, math.inf),
        "least_weight": (0, 1),
        "statistics_momentum": (0, 0.999999),
        "softness": (0, 1),
        "warmup_steps": (0, math.inf),
        "queue_rows": (0, math.inf),
    }
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "floor": FLOORS,
        "estimator": ESTIMATORS,
    }

    def setup(self) -> None:
        super().setup()
        self.statistics = self.variable("memory", "statistics", self.fresh_statistics)
        if self.queue_rows:
            self.queue = self.variable("memory", "queue", self.empty_queue)

    def fresh_statistics(self) -> dict[str, Array]:
        return {name: value.astype(self.dtype) for name, value in initial_statistics().items()}

    def empty_queue(self) -> dict[str, Array]:
        rows = jnp.zeros((self.queue_rows, self.width), self.dtype)
        return {
            "video": rows,
            "audio": rows,
            "index": jnp.full((self.queue_rows,), -1, jnp.int32),
            "present": jnp.zeros((self.queue_rows,), bool),
        }

    def reads(self) -> tuple[Read, ...]:
        return (*super().reads(), self.video_target, self.audio_target)

    @property
    def video_target(self) -> Read:
        return Read(self.video_view, self.video_encoder, "ema")

    @property
    def audio_target(self) -> Read:
        return Read(self.audio_view, self.audio_encoder, "ema")

    def target_heads(self, features: Mapping[Read, Features], batch: Batch) -> Outputs:
        return {
            "video_target": self.video_head(features[self.video_target].embedding, train=False),
            "audio_target": self.audio_head(features[self.audio_target].embedding, train=False),
        }

    def __call__(self, outputs: Outputs, batch: Batch, *, train: bool) -> Outcome:
        present = self.both_present(batch)
        targets = outputs["video_target"], outputs["audio_target"]

        score = agreement(*targets, present=present)
        statistics = update_statistics(
            self.statistics.value, score, present=present, momentum=self.statistics_momentum
        )
        trusts = batch["step"] >= self.warmup_steps
        weights = jnp.ones_like(score)
        if self.weighted:
            trusted = agreement_weights(
                score, mean=statistics["mean"], deviation=statistics["deviation"], shift=self.shift,
                kappa=self.kappa, least_weight=self.least_weight, floor=self.floor,
            )  # fmt: skip
            weights = jnp.where(trusts, trusted, weights)
        soft, softness = None, 0.0
        if self.soft:
            soft = functools.partial(
                soft_targets, estimator=self.estimator, temperature=self.target_temperature,
                own_temperature=self.own_temperature,
            )  # fmt: skip
            softness = jnp.where(trusts, self.softness, 0.0).astype(score.dtype)
        loss, metrics = robust_cross_modal_loss(
            outputs["video"], outputs["audio"], *targets, temperature=self.temperature,
            weights=weights, soft=soft, softness=softness, index=batch["index"], present=present,
            queue=self.queue.value if self.queue_rows else None,
            blocks=num_blocks(self.blocks, batch, train=train, key=self.config_key),
        )  # fmt: skip
        if train:
            self.statistics.value = {
                name: value.astype(self.dtype) for name, value in statistics.items()
            }
            if self.queue_rows:
                self.queue.value = self.with_batch(outputs, batch["index"], present)
        metrics["agreement_mean"] = statistics["mean"]
        metrics["agreement_deviation"] = statistics["deviation"]
        return Outcome(loss, metrics)

    def with_batch(self, outputs: Outputs, index: Array, present: Array) -> dict[str, Array]:
        """The queue with the batch in front, its oldest rows gone."""
        newest = {
            "video": outputs["video_target"],
            "audio": outputs["audio_target"],
            "index": index,
            "present": present,
        }
        return {
            name: jax.lax.stop_gradient(
                jnp.concatenate([newest[name].astype(old.dtype), old])[: self.queue_rows]
            )
            for name, old in self.queue.value.items()
        }
