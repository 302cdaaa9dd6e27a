"""The spectrograms that audio encoders read: log-mel, and those of AVID, L3-Net and SeLaVi."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from avssl.errors import UsageError, check_number, unknown
from avssl.signal.checks import check_above_zero, check_bands
from avssl.signal.filterbanks import MEL_SCALES, bin_bands, mel_bands
from avssl.signal.levels import Statistic, check_statistics, decibel, standardize
from avssl.signal.spectrum import hann, pad_centered, power_spectrum, widened

Number = float | int
PADDINGS = ("zero", "reflect")
LOUDEST = ("clip", "channel")


@dataclasses.dataclass(frozen=True)
class LogMel:
    """`librosa.power_to_db(librosa.feature.melspectrogram(...))`, frame i centred on i * hop.

    `last_frame` keeps librosa's frame 1 + n // hop, half of which lies beyond the end; without it a
    clip of 2 s at a hop of 10 ms has 200 frames. `padding`: librosa pads with zeros since 0.10, and
    reflected before. `power`: 2 takes powers through the bank, 1 magnitudes. `top_db_over`: whose
    loudest point counts, the clip's or each channel's. The default gives plain decibel, -100 to
    about 40: most encoders want a `mean` and `std`.

    AVSA: num_mels=128, fft_size=512, power=1, top_db=100, top_db_over="channel", statistics="avsa".
    """

    num_mels: int = 64
    fft_size: int = 1024
    window_samples: int | None = None
    hop_seconds: Number = 0.01
    power: int = 2
    mel_scale: str = "slaney"
    equal_area: bool = True
    min_hz: Number = 0.0
    max_hz: Number | None = None
    padding: str = "zero"
    last_frame: bool = False
    floor: Number = 1e-10
    top_db: Number | None = 80.0
    top_db_over: str = "clip"
    mean: Statistic = 0.0
    std: Statistic = 1.0
    statistics: str | None = None

    modality = "audio"

    def __post_init__(self) -> None:
        _check_spectrum(self)
        _check_choice("mel_scale", self.mel_scale, MEL_SCALES)
        check_bands(self, "num_mels")
        if self.power not in (1, 2):
            raise UsageError(f"power of LogMel must be 1 or 2, not {self.power}")
        if not 1 <= (self.window_samples or self.fft_size) <= self.fft_size:
            raise UsageError(
                f"window_samples of LogMel must lie in 1..fft_size ({self.fft_size}), "
                f"not {self.window_samples}"
            )

    def __call__(self, waveform: Float[Array, "b n c"], *, rate: int) -> Float[Array, "b t f c"]:
        max_hz = rate / 2 if self.max_hz is None else self.max_hz
        if not 0 <= self.min_hz < max_hz <= rate / 2:
            raise UsageError(
                f"LogMel needs 0 <= min_hz < max_hz <= {rate / 2:g} (half the rate), "
                f"not {self.min_hz:g} and {max_hz:g}"
            )
        bands = mel_bands(
            rate=rate,
            fft_size=self.fft_size,
            num_mels=self.num_mels,
            min_hz=float(self.min_hz),
            max_hz=float(max_hz),
            scale=self.mel_scale,
            equal_area=self.equal_area,
        )
        spectrum = _centered_power(self, waveform, rate, self.window_samples or self.fft_size)
        if self.power == 1:
            spectrum = jnp.sqrt(spectrum)
        return _levels(self, _through(spectrum, bands), rate, waveform.dtype)


@dataclasses.dataclass(frozen=True)
class StftDecibel:
    """AVID's spectrogram: power STFT, neighbouring bins averaged in pairs, decibel, z-norm per bin.

    The default is that of AVID-CMA: at 24 kHz a frame of 1024 every 10 ms, 257 bins, 100 dB, the
    shipped statistics; 2 s give 200 frames. The first bin (0 Hz) stays alone. The authors ran a
    librosa that padded by reflection (`padding="reflect"`); only the first three and last two
    frames differ.
    """

    fft_size: int = 1024
    hop_seconds: Number = 0.01
    pair_bins: bool = True
    padding: str = "zero"
    last_frame: bool = False
    floor: Number = 1e-10
    top_db: Number | None = 100.0
    top_db_over: str = "clip"
    mean: Statistic = 0.0
    std: Statistic = 1.0
    statistics: str | None = "avid"

    modality = "audio"

    def __post_init__(self) -> None:
        if self.pair_bins and self.fft_size % 4:
            raise UsageError(f"pair_bins needs an fft_size divisible by 4, not {self.fft_size}")
        _check_spectrum(self)

    def __call__(self, waveform: Float[Array, "b n c"], *, rate: int) -> Float[Array, "b t f c"]:
        spectrum = _centered_power(self, waveform, rate, self.fft_size)
        if self.pair_bins:
            pairs = 0.5 * (spectrum[..., 1::2] + spectrum[..., 2::2])
            spectrum = jnp.concatenate([spectrum[..., :1], pairs], axis=-1)
        return _levels(self, spectrum, rate, waveform.dtype)


@dataclasses.dataclass(frozen=True)
class LogSpectrogram:
    """L3-Net's: log max(magnitude, floor) / divisor of half-overlapping 10 ms Hann windows.

    Not padded: 1 s at 48 kHz gives 199 frames of 257 bins (Arandjelovic & Zisserman 2017,
    section 3). Magnitudes are scaled by the sum of the window (scipy's scaling="spectrum"), so that
    a sine of amplitude 1 gives 0.5. Floor and divisor are those of the Keras reimplementation
    (l3embedding); the paper states neither.
    """

    window_seconds: Number = 0.01
    hop_seconds: Number = 0.005
    fft_size: int = 512
    floor: Number = 1e-12
    divisor: Number = 5.0

    modality = "audio"

    def __post_init__(self) -> None:
        _check_fft_size(self.fft_size)
        check_above_zero(self, "floor", "divisor")

    def __call__(self, waveform: Float[Array, "b n c"], *, rate: int) -> Float[Array, "b t f c"]:
        size, hop = _frame_samples(self, rate)
        num_samples = waveform.shape[1]
        if num_samples < size:
            raise UsageError(
                f"LogSpectrogram needs a window of {size} samples, the clip has {num_samples}"
            )
        window = hann(size)
        spectrum = power_spectrum(
            jnp.moveaxis(waveform, 2, 1),
            window / window.sum(),
            fft_size=self.fft_size,
            hop=hop,
            num_frames=1 + (num_samples - size) // hop,
        )
        level = jnp.log(jnp.maximum(jnp.sqrt(spectrum), self.floor)) / self.divisor
        return _channels_last(level, waveform.dtype)


@dataclasses.dataclass(frozen=True)
class LogFilterbank:
    """SeLaVi's: `logfbank` of python_speech_features on int16 amplitudes, log of the band power.

    The default is that of the released code (257 bands, 1 s at 24 kHz -> 99 frames); its 40-band
    type is num_bands=40, its optional z-norm mean=1.93, std=17.89. Frames are not windowed; the
    last one is filled up with zeros. Empty bands and silence give the log of float64's epsilon, as
    there.
    """

    num_bands: int = 257
    window_seconds: Number = 0.02
    hop_seconds: Number = 0.01
    fft_size: int = 1024
    preemphasis: Number = 0.97
    full_scale: Number = 32768.0
    mean: Statistic = 0.0
    std: Statistic = 1.0

    modality = "audio"

    def __post_init__(self) -> None:
        _check_fft_size(self.fft_size)
        check_bands(self, "num_bands")
        check_above_zero(self, "full_scale", "std")

    def __call__(self, waveform: Float[Array, "b n c"], *, rate: int) -> Float[Array, "b t f c"]:
        size, hop = _frame_samples(self, rate)
        signal = jnp.moveaxis(waveform, 2, 1)
        signal = signal.astype(widened(signal.dtype)) * self.full_scale
        emphasized = signal[..., 1:] - self.preemphasis * signal[..., :-1]
        signal = jnp.concatenate([signal[..., :1], emphasized], axis=-1)
        spectrum = power_spectrum(
            signal,
            np.ones(size),
            fft_size=self.fft_size,
            hop=hop,
            num_frames=1 + max(0, math.ceil((signal.shape[-1] - size) / hop)),
        )
        bands = bin_bands(rate=rate, fft_size=self.fft_size, num_bands=self.num_bands)
        energy = _through(spectrum, bands) / self.fft_size
        level = jnp.log(jnp.where(energy == 0.0, np.finfo(np.float64).eps.item(), energy))
        level = standardize(level, mean=self.mean, std=self.std, statistics=None, rate=rate)
        return _channels_last(level, waveform.dtype)


def _check_choice(key: str, value: str, valid: tuple[str, ...]) -> None:
    if value not in valid:
        raise unknown(f"{key} of a frontend", value, valid)


def _check_fft_size(fft_size: int) -> None:
    if type(fft_size) is not int or fft_size < 2 or fft_size % 2:
        raise UsageError(f"fft_size of a frontend must be whole and even, not {fft_size!r}")


def _check_spectrum(frontend: LogMel | StftDecibel) -> None:
    _check_fft_size(frontend.fft_size)
    _check_choice("padding", frontend.padding, PADDINGS)
    _check_choice("top_db_over", frontend.top_db_over, LOUDEST)
    check_above_zero(frontend, "floor", "std")
    if frontend.top_db is not None:
        check_number("top_db of a frontend", frontend.top_db, 0)
    if frontend.statistics is not None and (frontend.mean, frontend.std) != (0.0, 1.0):
        raise UsageError(
            f"a frontend has both statistics '{frontend.statistics}' and a mean or std of its own; "
            "set statistics to None to use those, or mean to 0 and std to 1"
        )
    if frontend.statistics is not None:
        check_statistics(frontend, frontend.statistics)


def _frame_samples(frontend: LogSpectrogram | LogFilterbank, rate: int) -> tuple[int, int]:
    size = round(frontend.window_seconds * rate)
    hop = round(frontend.hop_seconds * rate)
    if not (1 <= size <= frontend.fft_size and hop >= 1):
        raise UsageError(
            f"at {rate} Hz a window of {frontend.window_seconds} s is {size} samples, a hop {hop}; "
            f"both must be at least 1, and the window at most fft_size ({frontend.fft_size})"
        )
    return size, hop


def _centered_power(
    frontend: LogMel | StftDecibel, waveform: Array, rate: int, window_samples: int
) -> Array:
    """Power spectrum [b, c, t, f] of frames centred on multiples of the hop."""
    fft_size = frontend.fft_size
    hop = round(frontend.hop_seconds * rate)
    num_samples = waveform.shape[1]
    if not 1 <= hop <= num_samples:
        raise UsageError(
            f"a hop of {frontend.hop_seconds} s is {hop} samples at {rate} Hz; it must lie between "
            f"1 and the clip's {num_samples} samples"
        )
    before = (fft_size - window_samples) // 2
    window = np.pad(hann(window_samples), (before, fft_size - window_samples - before))
    signal = pad_centered(jnp.moveaxis(waveform, 2, 1), fft_size, frontend.padding)
    num_frames = num_samples // hop + (1 if frontend.last_frame else 0)
    return power_spectrum(signal, window, fft_size=fft_size, hop=hop, num_frames=num_frames)


def _through(spectrum: Array, bands: np.ndarray) -> Array:
    # HIGHEST: accelerators would round the powers to bf16 or TF32 first.
    return jnp.matmul(
        spectrum, jnp.asarray(bands, spectrum.dtype), precision=jax.lax.Precision.HIGHEST
    )


def _levels(frontend: LogMel | StftDecibel, power: Array, rate: int, dtype: jnp.dtype) -> Array:
    level = decibel(power, floor=frontend.floor, top_db=frontend.top_db, over=frontend.top_db_over)
    level = standardize(
        level,
        mean=frontend.mean,
        std=frontend.std,
        statistics=frontend.statistics,
        rate=rate,
    )
    return _channels_last(level, dtype)


def _channels_last(level: Array, dtype: jnp.dtype) -> Array:
    return jnp.moveaxis(level, 1, 3).astype(dtype)
