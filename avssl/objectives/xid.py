"""Cross-modal instance discrimination over the global batch."""

from avssl.losses.contrastive import symmetric_info_nce
from avssl.objectives.base import Batch, Outcome, Outputs
from avssl.objectives.blocks import num_blocks
from avssl.objectives.projected import ProjectedObjective


class Xid(ProjectedObjective):
    """Symmetric InfoNCE: each clip's sound among all sounds of the batch, and the other way round.

    van den Oord et al. 2018 (arXiv 1807.03748, eq. 4) between modalities, as the xID baseline of Morgado et al.
    2021 ("Robust Audio-Visual Instance Discrimination", arXiv 2103.15916, eq. 1): each clip is its own class,
    loss = mean_i (CE(video_i . audio / temperature, i) + CE(audio_i . video / temperature, i)) / 2, vectors of
    unit length. temperature 0.07 and the head 512-512-128 without normalisation are AVID's.

    Departure: the negatives are the other clips of the global batch, not draws from a memory bank.

    `blocks` compares the clips with all others in so many parts, one after the other: the same loss, with
    batch^2 / blocks similarities at a time on all devices together, under pmap on each.
    """

    temperature: float = 0.07
    blocks: int | None = None

    def __call__(self, outputs: Outputs, batch: Batch, *, train: bool) -> Outcome:
        loss, metrics = symmetric_info_nce(
            outputs["video"],
            outputs["audio"],
            temperature=self.temperature,
            index=batch["index"],
            present=self.both_present(batch),
            blocks=num_blocks(self.blocks, batch, train=train, key=self.config_key),
        )
        return Outcome(loss, metrics)
