"""Front ends: what stands between a decoded clip and an encoder.

Each is a frozen dataclass whose fields are the keys of `encoders.NAME.frontend` in a config (beside
`name`). Audio: waveform [b, n, c] in [-1, 1] -> [b, time, frequency, c]. Video: [b, t, h, w, 3] in
[0, 1] -> the same shape. The maths is float32, or float64 for float64 input; the result has the
dtype of the input. A waveform in bf16 has lost most of its bits before it comes here: pass float32.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from avssl.errors import unknown
from avssl.signal.checks import check_above_zero, check_colours
from avssl.signal.spectrograms import LogFilterbank, LogMel, LogSpectrogram, StftDecibel
from avssl.signal.spectrum import widened
from avssl.signal.texture import SoundTexture

Number = float | int


@dataclasses.dataclass(frozen=True)
class Rgb:
    """Colours standardised with ImageNet's mean and standard deviation."""

    mean: tuple[Number, ...] = (0.485, 0.456, 0.406)
    std: tuple[Number, ...] = (0.229, 0.224, 0.225)

    modality = "video"

    def __post_init__(self) -> None:
        check_colours(self, "mean", "std")
        check_above_zero(self, "std")

    def __call__(self, video: Float[Array, "b t h w 3"]) -> Float[Array, "b t h w 3"]:
        wide = video.astype(widened(video.dtype))
        mean, std = (
            jnp.asarray(s, wide.dtype)[None, None, None, None] for s in (self.mean, self.std)
        )
        return ((wide - mean) / std).astype(video.dtype)


@dataclasses.dataclass(frozen=True)
class Waveform:
    """The samples themselves times `gain`, as one frequency bin. SoundNet: gain=256."""

    gain: Number = 1.0

    modality = "audio"

    def __post_init__(self) -> None:
        check_above_zero(self, "gain")

    def __call__(self, waveform: Float[Array, "b n c"], *, rate: int) -> Float[Array, "b n 1 c"]:
        del rate
        return (self.gain * waveform)[:, :, None]


@dataclasses.dataclass(frozen=True)
class Texture(SoundTexture):
    """What a sound is like on average: the statistics of `SoundTexture` as the bins of one moment.

    Targets are made of them, which the rounding of bf16 would move: they stay as wide as they come.
    """

    modality = "audio"
    stays_wide = True

    def __call__(self, waveform: Float[Array, "b n c"], *, rate: int) -> Float[Array, "b 1 d 1"]:
        return super().__call__(waveform, rate=rate)[:, None, :, None]


VideoFrontend = Rgb
AudioFrontend = LogMel | StftDecibel | LogSpectrogram | LogFilterbank | Waveform | Texture
Frontend = VideoFrontend | AudioFrontend
FRONTENDS: dict[str, type[Frontend]] = {
    "rgb": Rgb,
    "log_mel": LogMel,
    "stft_db": StftDecibel,
    "log_spectrogram": LogSpectrogram,
    "log_filterbank": LogFilterbank,
    "waveform": Waveform,
    "texture": Texture,
}


def build_frontend(config: Mapping[str, Any]) -> Frontend:
    """A front end from its config sub-dict, whose key `name` chooses the class."""
    fields = dict(config)
    name = fields.pop("name", None)
    if name not in FRONTENDS:
        raise unknown("frontend", str(name), FRONTENDS)
    cls = FRONTENDS[name]
    known = {field.name for field in dataclasses.fields(cls)}
    for key, value in fields.items():
        if key not in known:
            raise unknown(f"key of frontend '{name}'", key, known)
        if isinstance(value, list):
            fields[key] = tuple(value)
    return cls(**fields)
