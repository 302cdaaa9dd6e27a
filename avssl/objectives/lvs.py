"""LVS: the positions of a picture that do not sound are its own hard negatives."""

from collections.abc import Mapping

from jax import Array

from avssl.data.views import View
from avssl.errors import UsageError
from avssl.losses.tri_map import mean_of_sounding, tri_map_loss
from avssl.objectives.base import Batch, Outcome, Outputs
from avssl.objectives.blocks import num_blocks
from avssl.objectives.localizing import LocalizingObjective, positions


class Lvs(LocalizingObjective):
    """The tri-map loss (Chen, Xie, Afouras, Nagrani, Vedaldi & Zisserman 2021, CVPR, arXiv 2104.02691).

    "Localizing Visual Sounds the Hard Way"; code: hche11/Localizing-Visual-Sounds-the-Hard-Way, model and test
    only. The loss and what of it is recalled are in `losses/tri_map.py`. No projections: the encoders' maps
    and embeddings must be of one width (the paper's: two ResNet-18 of 512, pooled by the maximum).

    sounding_from, background_below: cosines above which a position sounds (0.65) and below which it is
    background (0.4), both softened by `softness` (0.03); between them nothing is said. temperature: 0.07.
    background: whether it is a negative. released_diagonal: the released way to leave a row's own column out
    of the negatives, whose loss explodes where a pair's cosine is negative. blocks: as of xid, of all
    positions.

    Departures: `channels` other than 0 puts projections where the paper has none; the positions of several
    frames are one picture's. Retrieval goes by the mean cosine over the region that sounds, as the loss does.
    """

    channels: int = 0
    sounding_from: float = 0.65
    background_below: float = 0.4
    softness: float = 0.03
    temperature: float = 0.07
    background: bool = True
    released_diagonal: bool = False
    blocks: int | None = None

    def views(self, table: Mapping[str, View]) -> dict[str, View]:
        if not self.softness > 0:
            raise UsageError(f"{self.config_key}.softness must be above 0, not {self.softness}")
        if self.background_below > self.sounding_from:
            raise UsageError(
                f"{self.config_key}.background_below ({self.background_below}) must not be above "
                f"sounding_from ({self.sounding_from}): a position would be both"
            )
        return super().views(table)

    def pair_scores(self, cosines: Array) -> Array:
        return mean_of_sounding(cosines, sounding_from=self.sounding_from, softness=self.softness)

    def __call__(self, outputs: Outputs, batch: Batch, *, train: bool) -> Outcome:
        audio = outputs["audio"]
        loss, metrics = tri_map_loss(
            positions(outputs["video"], audio),
            audio,
            sounding_from=self.sounding_from,
            background_below=self.background_below,
            softness=self.softness,
            temperature=self.temperature,
            background=self.background,
            released_diagonal=self.released_diagonal,
            index=batch["index"],
            present=self.both_present(batch),
            blocks=num_blocks(self.blocks, batch, train=train, key=self.config_key),
        )
        return Outcome(loss, metrics)
