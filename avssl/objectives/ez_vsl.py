"""EZ-VSL: a sound belongs to the best position of its picture."""

import jax.numpy as jnp
from jax import Array

from avssl.losses.localization import multiple_instance_loss
from avssl.objectives.base import Batch, Outcome, Outputs
from avssl.objectives.blocks import num_blocks
from avssl.objectives.localizing import LocalizingObjective, positions


class EzVsl(LocalizingObjective):
    """Multiple-instance contrastive learning (Mo & Morgado 2022, "Localizing Visual Sounds the Easy Way").

    ECCV, arXiv 2203.09324; code: stoneMo/EZ-VSL. The loss is `losses/localization.py`: InfoNCE both ways, each
    batch mean, summed, over the maximum of the cosine over positions, with `temperature` 0.03. Projections
    into 512 dimensions. `blocks`: as of xid, of all positions. Their object-guided map at test time is
    `avssl evaluate --alpha 0.4`.

    Departures: the released code starts the picture's network from ImageNet (here `init_from`, or anew) and
    contrasts within each device, here it is the global batch; clips that lack a modality leave.
    """

    temperature: float = 0.03
    blocks: int | None = None

    def pair_scores(self, cosines: Array) -> Array:
        return jnp.max(cosines, axis=-1)

    def __call__(self, outputs: Outputs, batch: Batch, *, train: bool) -> Outcome:
        return Outcome(*self.contrast(outputs, batch, train=train))

    def contrast(
        self, outputs: Outputs, batch: Batch, *, train: bool
    ) -> tuple[Array, dict[str, Array]]:
        audio = outputs["audio"]
        return multiple_instance_loss(
            positions(outputs["video"], audio),
            audio,
            temperature=self.temperature,
            index=batch["index"],
            present=self.both_present(batch),
            blocks=num_blocks(self.blocks, batch, train=train, key=self.config_key),
        )
