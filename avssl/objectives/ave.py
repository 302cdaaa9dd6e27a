"""AVE-Net: correspondence from the distance of aligned embeddings alone."""

import jax.numpy as jnp
from jax import Array

from avssl.losses.blocks import by_blocks
from avssl.losses.correspondence import correspondence_loss, distance_logits
from avssl.losses.rows import mean_present
from avssl.objectives.base import Batch, Outcome, Outputs
from avssl.objectives.blocks import num_blocks
from avssl.objectives.pairs import pairs_of_batch
from avssl.objectives.projected import ProjectedObjective

# Between random unit vectors; the logits start at zero there, or training never leaves the plateau.
TYPICAL_DISTANCE = 2**0.5


class Ave(ProjectedObjective):
    """Do picture and sound belong together, decided from their distance (Arandjelovic & Zisserman 2018).

    "Objects that Sound" (arXiv 1712.06651, section 3): embeddings by 512-128 ReLU, 128-128, length 1;
    logits = weight * distance + bias with two weights and two biases; softmax cross-entropy, half of the pairs
    corresponding. The common space serves retrieval.

    Departures: the mismatched sound is another clip's of the batch (see `pairs.py`), with `all_negatives`
    each other clip's, which encodes nothing more (`blocks` then takes the batch^2 pairs in so many parts, one
    after the other); weight starts at (slope, -slope) and bias so that both logits are 0 at a distance of
    sqrt(2), because the paper does not give its initialisation and a slope of the wrong sign stays at chance.
    """

    projection: tuple[int, ...] = (128, 128)
    initial_slope: float = 3.0
    all_negatives: bool = False
    blocks: int | None = None

    def setup(self) -> None:
        super().setup()
        slope = self.initial_slope
        # Class 1 is "together": near means likely.
        self.distance_weight = self.param(
            "distance_weight", lambda _: jnp.array([slope, -slope], jnp.float32)
        )
        self.distance_bias = self.param(
            "distance_bias", lambda _: jnp.array([-slope, slope], jnp.float32) * TYPICAL_DISTANCE
        )

    def __call__(self, outputs: Outputs, batch: Batch, *, train: bool) -> Outcome:
        pairs = pairs_of_batch(
            self.make_rng("draw"),
            batch["index"],
            self.both_present(batch),
            all_negatives=self.all_negatives,
        )
        weight, bias = self.distance_weight, self.distance_bias

        def of_pairs(rows: tuple[Array, Array]) -> tuple[Array, Array]:
            video, audio = rows
            return distance_logits(
                outputs["video"][video], outputs["audio"][audio], weight=weight, bias=bias
            )

        logits, distance = by_blocks(
            of_pairs,
            (pairs.video, pairs.audio),
            blocks=num_blocks(self.blocks, batch, train=train, key=self.config_key),
        )
        loss, metrics = correspondence_loss(
            logits, pairs.corresponds, present=pairs.usable, weights=pairs.weight
        )
        for name, kind in (("positive", pairs.corresponds), ("negative", ~pairs.corresponds)):
            metrics[f"{name}_distance"] = mean_present(distance, pairs.usable & kind)
        return Outcome(loss, metrics)
