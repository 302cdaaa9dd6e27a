"""MM-DistillNet: several seeing detectors teach one that hears."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jax import Array

from avssl.errors import UsageError
from avssl.losses.multi_teacher import multi_teacher_alignment
from avssl.losses.rows import mean_present
from avssl.models.detector import level_attention
from avssl.models.features import Features
from avssl.objectives.base import Batch, Outcome, Outputs, Read
from avssl.objectives.hearing import HearingObjective


class MmDistillnet(HearingObjective):
    """Detection of the teachers' boxes together + alignment_weight * MTA of what they attend to together.

    Valverde, Hurtado & Valada 2021 (CVPR, "There is More than Meets the Eye", arXiv 2103.01353; code:
    robot-learning-freiburg/MM-DistillNet). Boxes: `losses/detection.py`; MTA: `losses/multi_teacher.py`, on
    every level of the pyramid, temperature 9, weight 0.005 as in the shipped configuration (the paper's is 0.5
    by a third party). `released`: its KL that takes probabilities for logarithms; `least_probability=1e-4` is
    its clamp.

    Teachers and student must have pyramids of equally large maps. A clip that one of the teachers does not see
    leaves the alignment, and takes the boxes of the others; so does a mixture of two clips, which in a variant
    of the released code has the boxes of both, and of which no teacher sees one picture.

    Departures: small detectors for EfficientDet-D2; teachers of runs of `detect` for pretrained ones; boxes
    stay shares of a picture where the code rounds them to pixels; no pretext task before it.
    """

    alignment_weight: float = 0.005
    alignment_temperature: float = 9.0
    released: bool = False

    @property
    def target_kinds(self) -> tuple[str, ...]:
        return ("boxes", "attention") if self.alignment_weight else ("boxes",)

    def all_see(self, batch: Batch) -> Array:
        """bool [batch]: the rows of one clip that are heard and that every teacher sees."""
        seen = jnp.stack([batch["taught"][name] for name in self.names])
        return self.unmixed(batch) & jnp.all(seen, axis=0)

    def heads(self, features: Mapping[Read, Features], batch: Batch, *, train: bool) -> Outputs:
        outputs = super().heads(features, batch, train=train)
        if self.alignment_weight:
            heard = level_attention(features[self.audio_read].taps)
            outputs["row_alignment"] = self.row_alignment(
                [level.astype(self.dtype) for level in heard],
                [batch["targets"][name]["attention"] for name in self.names],
                self.all_see(batch),
            )
        return outputs

    def row_alignment(self, student: list[Array], teachers: list[Array], present: Array) -> Array:
        """The alignment loss of each row, [batch]: a row's does not depend on others."""
        sizes = [level.shape[1:] for level in student]
        total = sum(height * width for height, width in sizes)
        for name, said in zip(self.names, teachers, strict=True):
            if said.shape[1] != total:
                raise UsageError(
                    f"{self.config_key} aligns maps of one size: the student's levels have {total} positions, "
                    f"those of teacher '{name}' {said.shape[1]}: give both pictures one size and equal levels"
                )
        seen = [levels_apart(said, sizes) for said in teachers]

        def of_row(student: list[Array], seen: list[list[Array]], present: Array) -> Array:
            # Squares are what came in, so that the attention takes no further power of them.
            as_maps = [level[None, :, :, None] for level in student]
            taught = [[level[None, :, :, None] for level in levels] for levels in seen]
            return multi_teacher_alignment(
                as_maps, taught, temperature=self.alignment_temperature, power=1,
                released=self.released, present=present[None],
            )[0]  # fmt: skip

        return jax.vmap(of_row)(student, seen, present)

    def __call__(self, outputs: Outputs, batch: Batch, *, train: bool) -> Outcome:
        outcome = self.told_outcome(outputs, batch)
        if not self.alignment_weight:
            return outcome
        aligned = self.all_see(batch)
        alignment = mean_present(outputs["row_alignment"], aligned)
        metrics = {
            **outcome.metrics,
            "alignment": alignment,
            "aligned": jnp.sum(aligned).astype(self.dtype),
        }
        return Outcome(outcome.loss + self.alignment_weight * alignment, metrics)


def levels_apart(flat: Array, sizes: list[tuple[int, ...]]) -> list[Array]:
    """Attention of all levels, [batch, positions], as maps [batch, height, width]."""
    maps, first = [], 0
    for height, width in sizes:
        maps.append(flat[:, first : first + height * width].reshape(-1, height, width))
        first += height * width
    return maps
