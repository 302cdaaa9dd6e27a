"""Audio-visual spatial alignment: which of several viewing directions does this sound belong to?"""

import math
from collections.abc import Mapping
from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from avssl.data.views import View
from avssl.errors import UsageError
from avssl.losses.contrastive import symmetric_info_nce
from avssl.losses.precision import dot
from avssl.losses.spatial import MODES, contrasted_viewpoints, spatial_alignment_loss
from avssl.models.features import Features
from avssl.models.set_transformer import SetTransformer
from avssl.objectives.base import Batch, Objective, Outcome, Outputs, Read
from avssl.objectives.blocks import num_blocks


class Avsa(Objective):
    """Sounds and pictures of the same viewpoints of a 360-degree video, translated into each other.

    Morgado, Li & Vasconcelos 2020 ("Learning Representations from Audio-Visual Spatial Alignment", NeurIPS;
    released code `criterions/video2audio_seq.py`). From one moment come several viewpoints (`viewpoints_view`,
    of several windows); the ambisonic sound is turned towards each. Set transformers
    (`models/set_transformer.py`) translate a clip's video features into its audio features and back; each
    prediction is sought among the viewpoints of its clip and the same viewpoint of the other clips
    (`losses/spatial.py`).

    mode: `easy_hard` (the paper's), `hard` (viewpoints of the clip alone) or `avc` (the strongest viewpoint of
    each clip, which ignores space). `transformers=False` predicts from the features themselves.
    Curriculum: until `alignment_from_step` plain instance discrimination with one viewpoint (`video_view`);
    the official second stage starts from epoch 50 of the first. `blocks`: as of xid, in both.
    temperature 0.07, one linear layer to 128 per role, depth 2, one attention head.

    An evaluation leaves out what a stage that the run never has would have trained: without the first there is
    no retrieval and no score "contrast", without the second no score "viewpoint". After a curriculum the heads
    of the first stage stand as they were at its end, while the encoders under them go on: what they say is
    stale from `alignment_from_step` on.

    Departures: sounds are turned so that the viewpoint lies exactly in front; `official_rotation` gives the
    released order of the rotations, which misses it off the horizon. The negatives of the first stage are the
    batch's other clips, as released.
    """

    viewpoints_view: str = "viewpoints"
    mode: str = "easy_hard"
    temperature: float = 0.07
    projection_width: int = 128
    transformers: bool = True
    depth: int = 2
    num_heads: int = 1
    dropout: float = 0.1
    official_rotation: bool = False
    alignment_from_step: int = 0
    blocks: int | None = None

    bounds: ClassVar[Mapping[str, tuple[float, float]]] = {
        "projection_width": (1, math.inf),
        "depth": (1, math.inf),
        "num_heads": (1, math.inf),
        "alignment_from_step": (0, math.inf),
    }
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {"mode": MODES}

    def setup(self) -> None:
        def linear() -> nn.Dense:
            return nn.Dense(self.projection_width, dtype=self.dtype, param_dtype=self.dtype)

        self.video_contrast, self.audio_contrast = linear(), linear()
        self.video_target, self.audio_target = linear(), linear()
        self.video_guess, self.audio_guess = linear(), linear()
        if self.transformers:
            settings = (self.depth, self.num_heads, 4, self.dropout, self.dtype)
            self.video_to_audio = SetTransformer(*settings)
            self.audio_to_video = SetTransformer(*settings)

    @property
    def contrasts(self) -> bool:
        """Whether the first stage is part of this."""
        return self.stage in (0, None)

    @property
    def aligns(self) -> bool:
        return self.stage in (1, None)

    def stage_steps(self) -> tuple[int, ...]:
        return (self.alignment_from_step,)

    def views(self, table: Mapping[str, View]) -> dict[str, View]:
        names = {self.audio_view, *(read.toward for read in self.reads() if read.toward)}
        views = {name: table[name] for name in sorted(names)}
        for name, least in ((self.video_view, 1), (self.viewpoints_view, 2)):
            view = views.get(name)
            if view is not None and (
                getattr(view, "projection", "") != "sphere" or view.windows < least
            ):
                raise UsageError(
                    f"{self.config_key} looks into 360-degree video: set views.{name}.projection=sphere"
                    + (f" and views.{name}.windows to {least} or more" if least > 1 else "")
                )
        if views[self.audio_view].channels != 4:  # type: ignore[union-attr]
            raise UsageError(
                f"{self.config_key} needs ambisonic sound: set views.{self.audio_view}.channels=4"
            )
        return views

    def heard(self, view: str) -> Read:
        return Read(self.audio_view, self.audio_encoder, "train", view, self.official_rotation)

    def seen(self, view: str) -> Read:
        return Read(view, self.video_encoder)

    def reads(self) -> tuple[Read, ...]:
        stages = [(self.contrasts, self.video_view), (self.aligns, self.viewpoints_view)]
        return tuple(
            read
            for wanted, view in stages
            if wanted
            for read in (self.seen(view), self.heard(view))
        )

    def both_present(self, batch: Batch) -> Array:
        """A clip has all of its viewpoints or none."""
        seen = self.video_view if self.contrasts else self.viewpoints_view
        return batch["present"][seen] & batch["present"][self.audio_view]

    def heads(self, features: Mapping[Read, Features], batch: Batch, *, train: bool) -> Outputs:
        outputs = {}
        contrasts = self.contrasts and self.is_trained(0)
        if contrasts:
            seen, heard = self.seen(self.video_view), self.heard(self.video_view)
            outputs["video"] = self.video_contrast(features[seen].embedding)
            outputs["audio"] = self.audio_contrast(features[heard].embedding)
        if self.aligns:
            video = features[self.seen(self.viewpoints_view)].embedding
            audio = features[self.heard(self.viewpoints_view)].embedding
            if self.is_trained(1):
                outputs |= self.translations(video, audio, batch, train=train)
            if contrasts and not train:
                outputs["video_each"] = self.video_contrast(video)
                outputs["audio_each"] = self.audio_contrast(audio)
        return outputs

    def is_trained(self, stage: int) -> bool:
        """Whether the run ever has that stage; `init` meets the parameters of both."""
        if self.stage is not None or self.is_initializing():
            return True
        begins = self.alignment_from_step
        return begins > 0 if stage == 0 else self.num_steps is None or begins < self.num_steps

    def translations(self, video: Array, audio: Array, batch: Batch, *, train: bool) -> Outputs:
        """Each viewpoint's vectors to be found, and what each modality makes of the other's."""
        audio_guess, video_guess = video, audio
        if self.transformers:
            audio_guess = self.video_to_audio(video, train=train, rows=batch["row"])
            video_guess = self.audio_to_video(audio, train=train, rows=batch["row"])
        parts = {
            "video_views": (self.video_target, video),
            "audio_views": (self.audio_target, audio),
            "video_guess": (self.video_guess, video_guess),
            "audio_guess": (self.audio_guess, audio_guess),
        }
        return {
            name: head(contrasted_viewpoints(of, mode=self.mode))
            for name, (head, of) in parts.items()
        }

    def viewpoint_scores(self, outputs: Outputs) -> dict[str, Array]:
        """By the translations, and by the first stage's vectors, which saw one viewpoint at a time."""
        scores = {}
        if "video_each" in outputs:
            scores["contrast"] = cosines(outputs["video_each"], outputs["audio_each"])
        if "video_views" in outputs and outputs["video_views"].shape[1] > 1:
            scores["viewpoint"] = (
                cosines(outputs["video_views"], outputs["video_guess"])
                + cosines(outputs["audio_guess"], outputs["audio_views"])
            ) / 2
        return scores

    def __call__(self, outputs: Outputs, batch: Batch, *, train: bool) -> Outcome:
        present = self.both_present(batch)
        loss, metrics = jnp.zeros((), self.dtype), {}
        blocks = num_blocks(self.blocks, batch, train=train, key=self.config_key)
        if "video" in outputs:
            loss, metrics = symmetric_info_nce(
                outputs["video"], outputs["audio"], temperature=self.temperature,
                index=batch["index"], present=present, blocks=blocks,
            )  # fmt: skip
        if "video_views" in outputs:
            loss, metrics = spatial_alignment_loss(
                outputs["video_views"], outputs["audio_views"],
                video_prediction=outputs["video_guess"], audio_prediction=outputs["audio_guess"],
                mode=self.mode, temperature=self.temperature, index=batch["index"], present=present,
                blocks=blocks,
            )  # fmt: skip
        return Outcome(loss, metrics)


def cosines(video: Array, audio: Array) -> Array:
    """[batch, v, d] each to [batch, v, v]."""
    video, audio = (
        x / jnp.linalg.norm(x, axis=-1, keepdims=True).clip(1e-12) for x in (video, audio)
    )
    return dot(video, audio.swapaxes(1, 2))
