"""SoundNet: a network that hears learns to say what frozen networks say of the pictures beside the sound."""

import math
from collections.abc import Mapping
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax import Array

from avssl.data.views import View
from avssl.errors import UsageError
from avssl.losses.distillation import soundnet_loss
from avssl.models.features import Features
from avssl.models.soundnet import SlotClassifiers
from avssl.objectives.base import Batch, Objective, Outcome, Outputs, Read, Target
from avssl.objectives.teacher_names import different_teachers


class Soundnet(Objective):
    """scale * the mean over teachers and time slots of the KL from a teacher's classes to the sound's.

    Aytar, Vondrick & Torralba 2016 ("SoundNet: Learning Sound Representations from Unlabeled Video", NIPS,
    arXiv 1610.09001; code: cvondrick/soundnet, `main_train.lua`). The loss is `losses/distillation.py`: of 2
    teachers (1000 objects, 401 scenes) and 4 slots of 5 s, each divergence a mean over all elements, rows and
    classes, and `scale` (lambda) 250. No labels and no temperature.

    teachers: names in `teachers`, any number, asked for logits; their posteriors are the targets. A teacher's
    view has a window for each slot (`windows=4, every_seconds=5`, a frame in the middle of each with
    `align="center"`); one window is one slot.
    kernel, stride, padding: of the last layer over the moments of the student's map, whose output are the
    slots: 8, 2, 0 of SoundNet-8 and 16, 12, 4 of SoundNet-5. Each teacher has such a layer of its own.

    The student hears what its front end gives: SoundNet's `waveform` with gain=256, on which its first layer's
    BatchNorm relies.

    Departures: clips that lack the sound, or of which a teacher says nothing, leave that teacher's term. Clips
    shorter than the slots are left out so, where the release tiles their sound and labels. A map with several
    frequencies is averaged over them. Windows and crops are drawn as the views say; the release draws none.
    """

    teachers: tuple[str, ...] = ("objects", "scenes")
    kernel: int = 8
    stride: int = 2
    padding: int = 0
    scale: float = 250.0

    bounds: ClassVar[Mapping[str, tuple[float, float]]] = {"scale": (1e-6, math.inf)}

    def setup(self) -> None:
        self.answers = SlotClassifiers(
            {name: self.target_slots(name)[1] for name in self.names},
            kernel=self.kernel,
            stride=self.stride,
            padding=self.padding,
            dtype=self.dtype,
        )

    @property
    def names(self) -> tuple[str, ...]:
        names = different_teachers(f"{self.config_key}.teachers", self.teachers)
        if self.kernel < 1 or self.stride < 1 or self.padding < 0:
            raise UsageError(
                f"{self.config_key}: kernel and stride must be at least 1, padding at least 0"
            )
        return names

    def target_slots(self, teacher: str) -> tuple[int, int]:
        """(slots, classes) of a teacher's logits."""
        shape = self.target_shapes[teacher]["logits"]
        return (1, shape[0]) if len(shape) == 1 else (shape[0], shape[1])

    def views(self, table: Mapping[str, View]) -> dict[str, View]:
        return {self.audio_view: table[self.audio_view]}

    def reads(self) -> tuple[Read, ...]:
        return (self.audio_read,)

    def targets(self) -> tuple[Target, ...]:
        return tuple(Target(name, "logits") for name in self.names)

    def both_present(self, batch: Batch) -> Array:
        return batch["present"][self.audio_view]

    def heads(self, features: Mapping[Read, Features], batch: Batch, *, train: bool) -> Outputs:
        sound = features[self.audio_read]
        logits = self.answers(self.moments(features))
        for name in self.names:
            self.check_slots(name, logits[name].shape[1])
        return {"audio": sound.embedding} | {
            f"{name}_logits": value.astype(self.dtype) for name, value in logits.items()
        }

    def moments(self, features: Mapping[Read, Features]) -> Array:
        """The student's map [batch, moments, 1, channels]."""
        found = self.map_of(features, self.audio_read, self.config_key)
        if found.ndim != 4:
            raise UsageError(
                f"{self.config_key} needs a map of [time, frequency, channels], and that of the encoder "
                f"'{self.audio_encoder}' is {found.shape[1:]}: give the view '{self.audio_view}' one window"
            )
        return jnp.mean(found.astype(self.dtype), axis=2, keepdims=True)

    def check_slots(self, teacher: str, num_slots: int) -> None:
        told = self.target_slots(teacher)[0]
        if num_slots != told:
            raise UsageError(
                f"the student of {self.config_key} has {num_slots} time slots and the teacher '{teacher}' "
                f"speaks of {told}: set windows and every_seconds of the view that teachers.{teacher}.view "
                f"names, or {self.config_key}.kernel, stride and padding"
            )

    def __call__(self, outputs: Outputs, batch: Batch, *, train: bool) -> Outcome:
        logits = {name: outputs[f"{name}_logits"] for name in self.names}
        targets = {name: self.posteriors(name, batch) for name in self.names}
        present = {name: self.both_present(batch) & batch["taught"][name] for name in self.names}
        loss, divergences = soundnet_loss(logits, targets, present=present, scale=self.scale)
        metrics = {}
        for name in self.names:
            metrics |= {
                f"{name}_divergence": jnp.mean(divergences[name]),
                f"{name}_agreement": self.agreement(logits[name], targets[name], present[name]),
                f"{name}_taught": jnp.sum(present[name]).astype(self.dtype),
            }
        return Outcome(loss, metrics)

    def posteriors(self, teacher: str, batch: Batch) -> Array:
        """The teacher's probabilities, [batch, slots, classes]."""
        logits = batch["targets"][teacher]["logits"]
        return jax.nn.softmax(logits.reshape(len(logits), *self.target_slots(teacher)))

    def agreement(self, logits: Array, target: Array, present: Array) -> Array:
        """The share of slots whose likeliest class is the teacher's."""
        same = jnp.argmax(logits, axis=-1) == jnp.argmax(target, axis=-1)
        counted = jnp.sum(same & present[:, None]).astype(self.dtype)
        return counted / (same.shape[1] * jnp.maximum(jnp.sum(present), 1))
