"""What the cochlea hears: band-pass filters spaced as in the ear, and the envelopes of their bands.

McDermott & Simoncelli 2011 ("Sound Texture Perception via Statistics of the Auditory Periphery",
Neuron), as in their toolbox and in the library of Owens' release (andrewowens/multisensory,
`aolib/subband.py`). Filters act in the frequency domain on a whole clip.
"""

from functools import lru_cache

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from avssl.errors import UsageError
from avssl.signal.fourier import back_in_time, half_spectrum
from avssl.signal.spectrum import widened


def hz_to_erbs(hz: np.ndarray) -> np.ndarray:
    """Equivalent rectangular bandwidths below a frequency (Glasberg & Moore 1990)."""
    return 9.265 * np.log(1.0 + hz / (24.7 * 9.265))


@lru_cache(maxsize=4)
def cochlear_filters(
    *, num_samples: int, rate: int, num_bands: int, min_hz: float, max_hz: float
) -> np.ndarray:
    """[bins of an FFT of `num_samples`, num_bands + 2]: one low-pass, half cosines, one high-pass.

    Neighbours overlap by half; the squares of all at one frequency add up to 1.
    """
    if not 0 <= min_hz < max_hz <= rate / 2:
        raise UsageError(
            f"cochlear filters need 0 <= min_hz < max_hz <= {rate / 2:g} (half the rate), not "
            f"{min_hz:g} and {max_hz:g}"
        )
    hz = np.fft.rfftfreq(num_samples, 1.0 / rate)
    erbs = hz_to_erbs(hz)
    lowest, highest = hz_to_erbs(np.array([min_hz, max_hz]))
    edges = np.linspace(lowest, highest, num_bands + 2)
    filters = np.zeros((len(hz), num_bands + 2))
    for band in range(num_bands):
        lower, upper = edges[band], edges[band + 2]
        inside = (erbs > lower) & (erbs < upper)
        middle = 0.5 * (lower + upper)
        filters[inside, band + 1] = np.cos(np.pi * (erbs[inside] - middle) / (upper - lower))
    below, above = erbs < edges[1], erbs > edges[num_bands]
    filters[below, 0] = np.sqrt(1.0 - filters[below, 1] ** 2)
    filters[above, -1] = np.sqrt(1.0 - filters[above, num_bands] ** 2)
    return filters


@lru_cache(maxsize=4)
def modulation_filters(
    *, num_samples: int, rate: float, num_bands: int, min_hz: float, max_hz: float, quality: float
) -> np.ndarray:
    """[bins, num_bands]: half cosines around logarithmically spaced frequencies, of constant quality.

    Middle frequency over half width is `quality`. Scaled so that their squares add up to 1 on average
    between the fourth middle and the fourth from the end. A low filter that lies between two bins of
    a short clip is empty.
    """
    if num_bands < 8:
        raise UsageError(
            f"modulation filters are scaled by their middle: 8 or more, not {num_bands}"
        )
    hz = np.fft.rfftfreq(num_samples, 1.0 / rate)
    middles = np.geomspace(min_hz, min(max_hz, rate / 2), num_bands)
    filters = np.zeros((len(hz), num_bands))
    for band, middle in enumerate(middles):
        width = middle / quality
        inside = np.abs(hz - middle) < width
        filters[inside, band] = np.cos(0.5 * np.pi * (hz[inside] - middle) / width)
    central = (hz >= middles[3]) & (hz <= middles[-4])
    if not central.any():
        raise UsageError(
            f"{num_samples} samples of an envelope at {rate:g} Hz are too few for modulation filters"
        )
    return filters / np.sqrt(np.mean(np.sum(filters[central] ** 2, axis=1)))


def envelopes(
    waveform: Float[Array, "b n"],
    filters: np.ndarray,
    *,
    num_samples: int,
    exponent: float,
) -> Float[Array, "b m k"]:
    """|analytic signal| of each band to the power `exponent`, resampled to `num_samples` by FFT.

    What ringing makes negative is 0, as in the toolbox.
    """
    size = waveform.shape[1]
    spectrum = half_spectrum(waveform[:, None].astype(widened(waveform.dtype)))
    bands = spectrum * jnp.asarray(filters.T, spectrum.dtype)[None]
    # Of the analytic signal: positive frequencies twice; the first, and the last of an even size, once.
    weights = np.full(len(filters), 2.0)
    weights[0] = 1.0
    if size % 2 == 0:
        weights[-1] = 1.0
    bands = bands * jnp.asarray(weights, bands.dtype)[None, None]
    bands = jnp.pad(bands, ((0, 0), (0, 0), (0, size - len(filters))))
    envelope = jnp.abs(back_in_time(bands)) ** exponent
    return jnp.maximum(resampled(envelope, num_samples), 0.0).swapaxes(1, 2)


def resampled(x: Float[Array, "b k n"], num_samples: int) -> Float[Array, "b k m"]:
    """`scipy.signal.resample` to fewer samples: what lies above the new Nyquist frequency is cut."""
    size = x.shape[2]
    if num_samples >= size:
        raise UsageError(f"{size} samples of a sound cannot give {num_samples} of its envelope")
    spectrum = half_spectrum(x)[:, :, : num_samples // 2 + 1]
    weights = np.ones(num_samples // 2 + 1)
    if num_samples % 2 == 0:
        weights[-1] = 2.0  # the component at minus this frequency falls onto it
    spectrum = spectrum * jnp.asarray(weights * num_samples / size, spectrum.dtype)[None, None]
    return jnp.fft.irfft(spectrum, n=num_samples, axis=2)
