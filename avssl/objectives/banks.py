"""What AVID and CMA share: a head and a memory bank for each modality, and a constant Z."""

import jax
import jax.numpy as jnp
from jax import Array

from avssl.errors import UsageError
from avssl.losses.bank import draw_negatives, initial_bank, update_bank
from avssl.objectives.base import Batch, Outputs
from avssl.objectives.projected import ProjectedObjective


class BankObjective(ProjectedObjective):
    """A row of unit length for each record and modality, told apart by NCE with a frozen Z."""

    num_negatives: int = 1024
    temperature: float = 0.07
    bank_momentum: float = 0.5

    def setup(self) -> None:
        self.check()
        super().setup()
        self.video_bank = self.variable("memory", "video_bank", self.fresh_bank)
        self.audio_bank = self.variable("memory", "audio_bank", self.fresh_bank)
        # 0 is unset: the first batch with a complete row sets it.
        self.partition = self.variable("memory", "partition", jnp.zeros, (), self.dtype)

    def check(self) -> None:
        """Refuses what no bank could serve, before anything is trained."""
        self.require_records(2, "one to be told from another")
        if self.num_negatives < 1:
            raise UsageError(f"{self.config_key}.num_negatives must be at least 1")
        if not 0 <= self.bank_momentum < 1:
            raise UsageError(
                f"{self.config_key}.bank_momentum must be at least 0 and below 1, or no row would move"
            )

    def fresh_bank(self) -> Array:
        key = self.make_rng("params")
        return initial_bank(key, self.num_records, self.width, self.dtype)

    def negatives(
        self, batch: Batch, positives: Array | None = None, *, skip_self: bool = True
    ) -> Array:
        """Rows of the banks [batch, num_negatives], the same for both; drawn for each row on its own."""
        key = self.make_rng("draw")
        return draw_negatives(
            jax.vmap(lambda row: jax.random.fold_in(key, row))(batch["row"]),
            index=batch["index"], positives=positives, num_rows=self.num_records,
            num_negatives=self.num_negatives, skip_self=skip_self,
        )  # fmt: skip

    def remember(self, outputs: Outputs, batch: Batch, partition: Array) -> None:
        """Puts the embeddings of complete rows into the banks, and keeps Z."""
        for bank, embedding in (
            (self.video_bank, outputs["video"]),
            (self.audio_bank, outputs["audio"]),
        ):
            bank.value = update_bank(
                bank.value, embedding, index=batch["index"], momentum=self.bank_momentum,
                present=self.both_present(batch),
            )  # fmt: skip
        self.partition.value = partition.astype(self.dtype)
