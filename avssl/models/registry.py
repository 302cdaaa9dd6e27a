"""Encoders by name."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
from jax.typing import DTypeLike

from avssl.errors import UsageError, unknown
from avssl.models.cnn14 import Cnn14
from avssl.models.conv2d10 import Conv2D10
from avssl.models.davenet import ResDavenet
from avssl.models.detector import SmallDetectorAudio, SmallDetectorVideo
from avssl.models.detr import DetrResNet50Video
from avssl.models.encoder_check import check_encoder
from avssl.models.identity import IdentityAudio
from avssl.models.linear import LinearAudio, LinearVideo
from avssl.models.r2plus1d import R2Plus1D18
from avssl.models.resnet2d import (
    ResNet9Audio,
    ResNet18Audio,
    ResNet18Video,
    ResNet34Audio,
    ResNet34Video,
    ResNet50Audio,
    ResNet50Video,
)
from avssl.models.small import SmallAudio, SmallVideo
from avssl.models.soundnet import SoundNet5, SoundNet8
from avssl.models.speaker import SpeakerResNet34
from avssl.models.vgg import L3Audio, L3Video, Vgg16Video, VggishAudio
from avssl.models.video_resnet import MC318, R3D18, TorchvisionR2Plus1D18
from avssl.models.vit import AudioVit, VideoVit

# `Any`, because an encoder has a `modality`, and some a `frontend`, beside what every module has.
ENCODERS: dict[str, type[Any]] = {
    "cnn14": Cnn14,
    "conv2d10": Conv2D10,
    "detr_resnet50_video": DetrResNet50Video,
    "identity_audio": IdentityAudio,
    "l3_audio": L3Audio,
    "l3_video": L3Video,
    "linear_audio": LinearAudio,
    "linear_video": LinearVideo,
    "mc3_18": MC318,
    "r2plus1d18": R2Plus1D18,
    "r2plus1d18_torchvision": TorchvisionR2Plus1D18,
    "r3d_18": R3D18,
    "resdavenet": ResDavenet,
    "resnet18_audio": ResNet18Audio,
    "resnet18_video": ResNet18Video,
    "resnet34_audio": ResNet34Audio,
    "resnet34_video": ResNet34Video,
    "resnet50_audio": ResNet50Audio,
    "resnet50_video": ResNet50Video,
    "resnet9_audio": ResNet9Audio,
    "small_audio": SmallAudio,
    "small_detector_audio": SmallDetectorAudio,
    "small_detector_video": SmallDetectorVideo,
    "small_video": SmallVideo,
    "soundnet5": SoundNet5,
    "soundnet8": SoundNet8,
    "speaker_resnet34": SpeakerResNet34,
    "vgg16_video": Vgg16Video,
    "vggish_audio": VggishAudio,
    "vit_audio": AudioVit,
    "vit_video": VideoVit,
}

# Keys of an encoder's config that its module does not see.
NOT_FIELDS = ("name", "modality", "frontend")


def sees_by_frame(config: Mapping[str, Any]) -> bool:
    """Whether the encoder of a config sees each frame by itself, so that number and rate do not matter."""
    return getattr(ENCODERS.get(config.get("name", "")), "by_frame", False)


def hears_any_length(config: Mapping[str, Any]) -> bool:
    """Whether the encoder of a config pools over time, so that the length of a sound does not matter."""
    return getattr(ENCODERS.get(config.get("name", "")), "any_length", False)


def encoder_fields(cls: type[nn.Module]) -> dict[str, Any]:
    """The config keys of an encoder with their defaults."""
    return {
        field.name: field.default
        for field in dataclasses.fields(cls)
        if field.name not in ("parent", "name", "dtype")
    }


def build_encoder(name_in_config: str, config: Mapping[str, Any], dtype: DTypeLike) -> nn.Module:
    """The module for `encoders.NAME_IN_CONFIG`."""
    where = f"encoders.{name_in_config}"
    kind = config.get("name")
    if kind not in ENCODERS:
        raise unknown(f"encoder in {where}.name", str(kind), ENCODERS)
    cls = ENCODERS[kind]
    modality = config.get("modality", cls.modality)
    if modality != cls.modality:
        raise UsageError(
            f"{where}.modality is '{modality}', but the encoder '{kind}' takes {cls.modality}; "
            f"give the one or another encoder"
        )
    fields = {key: value for key, value in config.items() if key not in NOT_FIELDS}
    known = encoder_fields(cls)
    for key, value in fields.items():
        if key not in known:
            raise unknown(f"key of {where}", key, (*known, *NOT_FIELDS))
        if isinstance(value, list):
            fields[key] = tuple(value)
    check_encoder(where, kind, cls, fields, known)
    return cls(**fields, dtype=dtype)
