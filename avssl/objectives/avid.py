"""Audio-visual instance discrimination against memory banks."""

from avssl.errors import UsageError
from avssl.losses.avid import avid_loss
from avssl.objectives.banks import BankObjective
from avssl.objectives.base import Batch, Outcome, Outputs


class Avid(BankObjective):
    """Each record is a class of its own: its sound is found among the bank by its picture, and back.

    Morgado, Vasconcelos & Misra 2021 (CVPR, "Audio-Visual Instance Discrimination with Cross-Modal
    Agreement", arXiv 2004.12943; code: AVID-CMA, `criterions/avid.py`). The loss is `losses/avid.py`:
    NCE of a row's embedding with its record's row of the other bank (`cross`) or of its own (`within`)
    against `num_negatives` drawn rows; Cross-AVID is (1, 0), the paper's; Self (0, 1), Joint (1, 1).
    Constants as published: 1024 negatives, temperature 0.07, heads 512-512-128; after each step a row
    becomes normalise(`bank_momentum` * row + (1 - `bank_momentum`) * embedding) with 0.5. Z is the mean
    of exp(logit) over the negatives of the first batch, and frozen; `partition` in the metrics.

    All clips of a record share its row. Negatives are drawn with replacement, the own record is never
    among them, and both modalities have the same. Departures: rows that lack a modality neither learn nor
    write; of several rows of one record in a batch the last one is written (the released code leaves that
    open); Z is of the global batch, where the released code averages over GPUs: the same.

    `init_from` gives parameters only: banks and Z begin anew (`cma` goes on from them).
    """

    cross: float = 1.0
    within: float = 0.0

    def check(self) -> None:
        super().check()
        if min(self.cross, self.within) < 0 or self.cross + self.within <= 0:
            raise UsageError(
                f"{self.config_key}: cross and within must not be negative, nor both 0"
            )

    def __call__(self, outputs: Outputs, batch: Batch, *, train: bool) -> Outcome:
        loss, partition, losses = avid_loss(
            outputs["video"],
            outputs["audio"],
            video_bank=self.video_bank.value,
            audio_bank=self.audio_bank.value,
            index=batch["index"],
            negatives=self.negatives(batch),
            partition=self.partition.value,
            present=self.both_present(batch),
            cross=self.cross,
            within=self.within,
            temperature=self.temperature,
        )
        if train:
            self.remember(outputs, batch, partition)
        return Outcome(loss, {**losses, "partition": partition})
