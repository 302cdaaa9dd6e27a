"""Audiovisual masked autoencoders: most of the picture and of the sound is told from the rest of both."""

import math
from collections.abc import Mapping
from typing import ClassVar

from avssl.errors import UsageError
from avssl.losses.masked_patches import patch_errors
from avssl.losses.rows import mean_present
from avssl.models.features import Features, Patches
from avssl.models.masked_autoencoder import MaskedAutoencoder
from avssl.models.transformer import REMATS
from avssl.models.vit import patches_at
from avssl.objectives.base import Batch, Objective, Outcome, Outputs, Read


class AvMae(Objective):
    """Squared error of the hidden patches of a video and of its spectrogram.

    Georgescu et al. 2023 ("Audiovisual Masked Autoencoders", ICCV, arXiv 2212.05922), its best strategy: an
    encoder for each modality, `fused_depth` 2 blocks on both, one decoder (`decoder_width` 384 for ViT-B, 512
    for ViT-L, `decoder_depth` 4), which tells the inputs of each patch that the encoders' `patch_drop` left
    out (published: 0.9 of a video, 0.7 of its sound);

        loss = video_weight * mean square of the video's + audio_weight * that of the spectrogram's

    with 0.5 each, over the patches' numbers as the front ends give them; `standardise_patches` takes those of
    each patch less their mean and over their deviation (He et al. 2022; off in the released AudioSet run). The
    network is `models/masked_autoencoder.py`. The blocks on both are counted in the published depth: an
    encoder of ViT-B has `depth` 10.

    Departures: positions are sines and cosines of each axis, where scenic counts the patches in one row. An
    evaluation looks at the encoders alone, before the blocks on both; so does a fine-tuning, where the paper
    keeps them. Its inpainting, which tells a modality from the other alone, is not here.

    Nothing is compared between clips: there is no space of both modalities, and no retrieval.
    """

    fused_depth: int = 2
    decoder_width: int = 384
    decoder_depth: int = 4
    video_weight: float = 0.5
    audio_weight: float = 0.5
    standardise_patches: bool = False
    narrow_scores: bool = False
    flash: bool = False
    remat: str = "none"

    bounds: ClassVar[Mapping[str, tuple[float, float]]] = {
        "fused_depth": (0, math.inf), "decoder_width": (1, math.inf), "decoder_depth": (1, math.inf),
    }  # fmt: skip
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {"remat": REMATS}

    def setup(self) -> None:
        self.autoencoder = MaskedAutoencoder(
            self.fused_depth,
            self.decoder_width,
            self.decoder_depth,
            narrow_scores=self.narrow_scores,
            flash=self.flash,
            remat=self.remat,
        )

    def heads(self, features: Mapping[Read, Features], batch: Batch, *, train: bool) -> Outputs:
        patches = {
            "video": self.patches_of(features, self.video_read, train=train),
            "audio": self.patches_of(features, self.audio_read, train=train),
        }
        predicted = self.autoencoder(patches, train=train, rows=batch["row"])
        return {
            f"{name}_error": patch_errors(
                predicted[name],
                patches_at(one.inputs, one.hidden),
                standardise=self.standardise_patches,
            )
            for name, one in patches.items()
        }

    def patches_of(self, features: Mapping[Read, Features], read: Read, *, train: bool) -> Patches:
        found = features[read].patches
        if found is None:
            raise UsageError(
                f"{self.config_key} hides patches, of which encoders.{read.encoder} has none: set its name to "
                "vit_video or vit_audio"
            )
        if found.seen.ndim != 3:
            raise self.several_windows(read)
        if train and not found.hidden.shape[1]:
            raise UsageError(
                f"{self.config_key} hides patches, and encoders.{read.encoder} sees all of them: set its "
                "patch_drop above 0 (0.9 of video and 0.7 of sound are published)"
            )
        return found

    def __call__(self, outputs: Outputs, batch: Batch, *, train: bool) -> Outcome:
        present = self.both_present(batch)
        video = mean_present(outputs["video_error"], present)
        audio = mean_present(outputs["audio_error"], present)
        loss = self.video_weight * video + self.audio_weight * audio
        return Outcome(loss, {"video_error": video, "audio_error": audio})
