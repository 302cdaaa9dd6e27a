"""Filter banks as numpy matrices [bins, bands], computed once in float64."""

from functools import lru_cache

import numpy as np

MEL_SCALES = ("slaney", "htk")

# Slaney's scale: linear up to 1 kHz, logarithmic above.
_HZ_PER_MEL = 200.0 / 3
_BREAK_HZ = 1000.0
_BREAK_MEL = _BREAK_HZ / _HZ_PER_MEL
_LOG_STEP = np.log(6.4) / 27.0


def hz_to_mel(hz: float, scale: str) -> float:
    if scale == "htk":
        return 2595.0 * np.log10(1.0 + hz / 700.0)
    if hz >= _BREAK_HZ:
        return _BREAK_MEL + np.log(hz / _BREAK_HZ) / _LOG_STEP
    return hz / _HZ_PER_MEL


def mel_to_hz(mel: np.ndarray, scale: str) -> np.ndarray:
    if scale == "htk":
        return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    above = _BREAK_HZ * np.exp(_LOG_STEP * (np.maximum(mel, _BREAK_MEL) - _BREAK_MEL))
    return np.where(mel >= _BREAK_MEL, above, mel * _HZ_PER_MEL)


def _mel_spaced_hz(num_points: int, min_hz: float, max_hz: float, scale: str) -> np.ndarray:
    points = np.linspace(hz_to_mel(min_hz, scale), hz_to_mel(max_hz, scale), num_points)
    return mel_to_hz(points, scale)


@lru_cache(maxsize=16)
def mel_bands(
    *,
    rate: int,
    fft_size: int,
    num_mels: int,
    min_hz: float,
    max_hz: float,
    scale: str,
    equal_area: bool,
) -> np.ndarray:
    """Triangles of `librosa.filters.mel`; `equal_area` is its norm='slaney'.

    With many mels and a short FFT some low triangles fall between two bins and are empty, as there.
    """
    edges = _mel_spaced_hz(num_mels + 2, min_hz, max_hz, scale)
    bins = np.fft.rfftfreq(fft_size, 1.0 / rate)[:, None]
    lower, center, upper = edges[:-2], edges[1:-1], edges[2:]
    rising = (bins - lower) / (center - lower)
    falling = (upper - bins) / (upper - center)
    bands = np.maximum(0.0, np.minimum(rising, falling))
    if equal_area:
        bands *= 2.0 / (upper - lower)
    return bands


@lru_cache(maxsize=16)
def bin_bands(*, rate: int, fft_size: int, num_bands: int) -> np.ndarray:
    """Triangles of python_speech_features: HTK mels, corners rounded down to whole FFT bins.

    Corners that fall on the same bin leave an empty band.
    """
    edges = _mel_spaced_hz(num_bands + 2, 0.0, rate / 2, "htk")
    corners = np.floor((fft_size + 1) * edges / rate)
    bands = np.zeros((fft_size // 2 + 1, num_bands))
    bins = np.arange(fft_size // 2 + 1)
    for band, (lower, center, upper) in enumerate(zip(corners, corners[1:], corners[2:])):  # noqa: B905
        rising = (lower <= bins) & (bins < center)
        falling = (center <= bins) & (bins < upper)
        bands[rising, band] = (bins[rising] - lower) / (center - lower)
        bands[falling, band] = (upper - bins[falling]) / (upper - center)
    return bands
