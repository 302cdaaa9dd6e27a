"""Cross-modal agreement: records that look alike and sound alike are positives of each other."""

import functools
import math
from collections.abc import Mapping
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from avssl.errors import UsageError, unknown
from avssl.losses.avid import cma_loss
from avssl.losses.bank import AGREEMENTS, agreement_positives
from avssl.objectives.banks import BankObjective
from avssl.objectives.base import Batch, Outcome, Outputs, Owned

# Cosines that one device holds at once while positives are searched, of each modality: 512 MB.
COSINES_AT_ONCE = 2**27


class Cma(BankObjective):
    """AVID that goes on with positives on which both modalities agree (`init_from` a run of `avid`).

    Morgado, Vasconcelos & Misra 2021 (CVPR, arXiv 2004.12943; code: AVID-CMA, `criterions/avid_cma.py`).
    The positives of a record are the `num_positives` others with the largest min(cos_video, cos_audio) of
    bank rows (`agreement`: "union" takes the max, "video" and "audio" one alone). They are mined from the
    banks as they stand, before the first step and every `refresh_every_steps` (published: 5 epochs on
    Kinetics, which is the default; 10 on AudioSet). The loss is the weighted mean of instance
    discrimination, across and within modalities, and of the same with the positives; published weights
    (1, 0, 0, 1), 32 positives; positives within a modality see the first `num_negatives_within` (64) of the
    1024 negatives. Negatives are drawn beside the positives and the record itself.

    Banks, Z and heads come from the other run, which must be of the same data. Without one the banks hold
    random directions, on which nothing agrees: let `positives_from_step` give them time. Before that step
    the positive groups have no weight, which is AVID, and nothing is mined.

    Departures: as in `avid`. The released code, where it does something else than the paper says:
    `skip_self=False` draws the record itself as a negative too, `drop_nearest` takes a record's nearest row
    for the record, and `released_within_instance` computes that group across modalities.
    """

    num_positives: int = 32
    agreement: str = "consensus"
    refresh_every_steps: int = 45_325
    positives_from_step: int = 0
    cross_instance: float = 1.0
    within_instance: float = 0.0
    cross_positives: float = 0.0
    within_positives: float = 1.0
    num_negatives_within: int = 64
    skip_self: bool = True
    drop_nearest: bool = False
    released_within_instance: bool = False

    bounds: ClassVar[Mapping[str, tuple[float, float]]] = {"positives_from_step": (0, math.inf)}

    continues: ClassVar[tuple[str, ...]] = ("cma", "avid")
    continues_memory: ClassVar[tuple[str, ...]] = ("video_bank", "audio_bank", "partition")

    def setup(self) -> None:
        super().setup()
        shape = (self.num_records, self.num_positives)
        self.positive_set = self.variable("memory", "positive_set", jnp.zeros, shape, jnp.int32)

    def check(self) -> None:
        super().check()
        if self.agreement not in AGREEMENTS:
            raise unknown(f"agreement of {self.config_key}", self.agreement, AGREEMENTS)
        for name in ("num_positives", "num_negatives_within", "refresh_every_steps"):
            if getattr(self, name) < 1:
                raise UsageError(f"{self.config_key}.{name} must be at least 1")
        self.require_records(self.num_positives + 2, f"num_positives={self.num_positives}")
        groups = (*self.instance_weights, self.cross_positives, self.within_positives)
        if min(groups) < 0 or sum(groups) <= 0:
            raise UsageError(
                f"{self.config_key}: no weight of a group may be negative, nor all of them 0"
            )
        if self.positives_from_step > 0 and sum(self.instance_weights) == 0:
            raise UsageError(
                f"{self.config_key}: before positives_from_step only instances are told apart: give "
                "cross_instance or within_instance a weight, or set positives_from_step=0"
            )

    @property
    def instance_weights(self) -> tuple[float, float]:
        return self.cross_instance, self.within_instance

    @property
    def has_positives(self) -> bool:
        return self.stage != 0

    def stage_steps(self) -> tuple[int, ...]:
        return (self.positives_from_step,)

    def __call__(self, outputs: Outputs, batch: Batch, *, train: bool) -> Outcome:
        positives = self.positive_set.value[batch["index"]]
        loss, partition, losses = cma_loss(
            outputs["video"],
            outputs["audio"],
            video_bank=self.video_bank.value,
            audio_bank=self.audio_bank.value,
            index=batch["index"],
            positives=positives,
            negatives=self.negatives(
                batch,
                positives if self.has_positives else None,
                skip_self=self.skip_self or not self.has_positives,
            ),
            partition=self.partition.value,
            present=self.both_present(batch),
            cross_instance=self.cross_instance,
            within_instance=self.within_instance,
            cross_positives=self.cross_positives if self.has_positives else 0.0,
            within_positives=self.within_positives if self.has_positives else 0.0,
            num_negatives_within=self.num_negatives_within,
            temperature=self.temperature,
            released_within_instance=self.released_within_instance,
        )
        if train:
            self.remember(outputs, batch, partition)
        return Outcome(loss, {**losses, "partition": partition})

    def refresh_due(self, step: int) -> bool:
        since = step - self.positives_from_step
        return since >= 0 and since % self.refresh_every_steps == 0

    def refresh(self, owned: Owned, kept: Outputs, seen: Array, step: int, key: Array) -> Owned:
        """The positive set of the banks as they stand."""
        video_bank, audio_bank = owned.memory["video_bank"], owned.memory["audio_bank"]
        where = video_bank.sharding
        mesh = where.mesh if isinstance(where, NamedSharding) else None
        positive_set = positives_of_all(
            video_bank, audio_bank, mesh=mesh, num_positives=self.num_positives,
            agreement=self.agreement, drop_nearest=self.drop_nearest,
        )  # fmt: skip
        return Owned(owned.params, {**owned.memory, "positive_set": positive_set})


@functools.partial(jax.jit, static_argnames=("mesh", "num_positives", "agreement", "drop_nearest"))
def positives_of_all(
    video_bank: Array,
    audio_bank: Array,
    *,
    mesh: Mesh | None,
    num_positives: int,
    agreement: str = "consensus",
    drop_nearest: bool = False,
) -> Array:
    """The positives of every record, int32 [num_records, num_positives], chunk by chunk of records.

    On a mesh each device takes a share of the records of every chunk and compares it with whole banks:
    gathered once, they are far smaller than the cosines would be.
    """
    num_records = video_bank.shape[0]
    num_devices = mesh.size if mesh else 1
    share = min(max(COSINES_AT_ONCE // num_records, 1), -(-num_records // num_devices))
    num_chunks = -(-num_records // (share * num_devices))
    # Records beyond the last are the last once more.
    rows = jnp.arange(num_chunks * num_devices * share, dtype=jnp.int32)
    rows = jnp.minimum(rows, num_records - 1).reshape(num_chunks, -1)
    if mesh:
        whole = NamedSharding(mesh, PartitionSpec())
        split = NamedSharding(mesh, PartitionSpec(None, mesh.axis_names))
        video_bank, audio_bank = jax.lax.with_sharding_constraint((video_bank, audio_bank), whole)
        rows = jax.lax.with_sharding_constraint(rows, split)

    def positives(chunk: Array) -> Array:
        return agreement_positives(
            video_bank, audio_bank, chunk, num_positives=num_positives, agreement=agreement,
            drop_nearest=drop_nearest,
        )  # fmt: skip

    return jax.lax.map(positives, rows).reshape(-1, num_positives)[:num_records]
