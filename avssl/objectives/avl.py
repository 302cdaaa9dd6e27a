"""AVL: EZ-VSL with hints, of a teacher that knows sounds and of one that sees objects."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jax import Array

from avssl.data.views import View
from avssl.errors import UsageError
from avssl.losses.teacher_hints import object_hint_loss, object_response, sound_hint_loss
from avssl.models.features import Features
from avssl.objectives.base import Batch, Outcome, Outputs, Read, Target
from avssl.objectives.ez_vsl import EzVsl


class Avl(EzVsl):
    """EZ-VSL's loss + sound_weight * the sound's hint + object_weight * the objects' hint.

    Yaghoubi, Kelm, Gerkmann & Frintrop 2023 (ICMI, "Acoustic and Visual Knowledge Distillation for Contrastive
    Audio-Visual Localization"; their code, the paper was not at hand). `losses/teacher_hints.py`: the vector
    of the sound is drawn to the teacher's embedding, of the same width (PANNs' 2048); the mean over channels
    of the vectors of the picture to where the teacher sees objects. Teachers are gone in evaluation; a map
    of objects is fused there, as for EZ-VSL, by `avssl evaluate --alpha`.

    sound_teacher, object_teacher: names in `teachers`, at least one; empty is without it. The first is asked
    for `embedding`, the second for `map`: any picture network's, of which `object_response` keeps the mean
    over channels of the magnitudes, or a map of one channel as it is (the published: the attention of DETR,
    the encoder `detr_resnet50_video`).
    sound_weight, object_weight: 1,000 and 100,000 as released, against means over 2048 channels: with other
    `channels` their share channels / 2048 stands for each.
    object_scale: a factor on what the map says. The mean over channels of a vector of length 1 lies within
    1 / sqrt(channels), so that with fewer than 2048 the same map asks for less; sqrt(2048 / channels) makes it
    ask for the same angle. 1, as released, is for 2048.
    normalise_teacher: scales the sound teacher's embedding to length 1, as the student's is; released is off.

    Departures: clips that lack a modality leave the terms that need it, so a silent clip still learns of
    objects; a picture in which the object teacher finds nothing leaves its term. The released main model has
    two ViT-B/16, their CNN variant two ResNet-18, and draws both projections from a truncated normal of 0.01,
    where those of pictures are drawn here as in EZ-VSL's code; other departures are EZ-VSL's.
    """

    channels: int = 2048
    sound_teacher: str = "sound"
    object_teacher: str = "objects"
    sound_weight: float = 1_000.0
    object_weight: float = 100_000.0
    object_scale: float = 1.0
    normalise_teacher: bool = False

    def targets(self) -> tuple[Target, ...]:
        asked = {"embedding": self.sound_teacher, "map": self.object_teacher}
        found = tuple(Target(name, kind) for kind, name in asked.items() if name)
        if not found:
            raise UsageError(
                f"{self.config_key} needs a teacher: name one in sound_teacher or object_teacher, or take "
                "the objective ez_vsl, which is the same without"
            )
        return found

    def needed_views(self, table: Mapping[str, View]) -> dict[str, View]:
        """A hint needs what its student looks at, and the contrast both."""
        hints = {
            self.audio_view: self.sound_teacher and self.sound_weight,
            self.video_view: self.object_teacher and self.object_weight,
        }
        hinted = [name for name, has_weight in hints.items() if has_weight]
        if len(hinted) == 1:
            return {name: table[name] for name in hinted}
        return {} if hinted else self.views(table)

    def heads(self, features: Mapping[Read, Features], batch: Batch, *, train: bool) -> Outputs:
        video_map, audio = self.common_space(features)
        outputs = self.compared(video_map, audio, train=train)
        if self.sound_teacher:
            self.check_widths(audio, batch["targets"][self.sound_teacher]["embedding"])
        if self.object_teacher:
            outputs |= self.object_hints(video_map, batch)
        return outputs

    def check_widths(self, student: Array, teacher: Array) -> None:
        if student.shape[-1] != teacher.shape[-1]:
            raise UsageError(
                f"{self.config_key} draws sounds to the embeddings of teacher '{self.sound_teacher}', which "
                f"have {teacher.shape[-1]} numbers where its own have {student.shape[-1]}: set "
                f"{self.config_key}.channels={teacher.shape[-1]}"
            )

    def object_hints(self, video_map: Array, batch: Batch) -> Outputs:
        """The loss of each row by itself and whether it has a hint: no map leaves its device."""
        response, found = object_response(batch["targets"][self.object_teacher]["map"])
        seen = batch["present"][self.video_view] & batch["taught"][self.object_teacher]

        def of_row(video_map: Array, response: Array, present: Array) -> tuple[Array, Array]:
            return object_hint_loss(video_map[None], response[None], present=present[None])

        response *= self.object_scale
        losses, hinted = jax.vmap(of_row)(video_map, response, seen & found)
        return {"object_losses": losses, "object_hinted": hinted}

    def __call__(self, outputs: Outputs, batch: Batch, *, train: bool) -> Outcome:
        loss, metrics = self.contrast(outputs, batch, train=train)
        metrics["localization_loss"] = loss
        if self.sound_teacher:
            hint, number = sound_hint_loss(
                outputs["audio"],
                batch["targets"][self.sound_teacher]["embedding"],
                normalise_teacher=self.normalise_teacher,
                present=batch["present"][self.audio_view] & batch["taught"][self.sound_teacher],
            )
            loss += self.sound_weight * hint
            metrics |= {"sound_hint_loss": hint, "num_sound_hints": number}
        if self.object_teacher:
            number = jnp.sum(outputs["object_hinted"])
            # A row without a hint has the loss 0 of no row.
            hint = jnp.sum(outputs["object_losses"]) / jnp.maximum(number, 1.0)
            loss += self.object_weight * hint
            metrics |= {"object_hint_loss": hint, "num_object_hints": number}
        return Outcome(loss, metrics)
