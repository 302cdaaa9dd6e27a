"""Sound textures: what a sound is like on average over time, the targets of ambient sound."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from avssl.errors import UsageError
from avssl.signal.by_device import by_device
from avssl.signal.checks import check_above_zero
from avssl.signal.cochlea import cochlear_filters, envelopes, modulation_filters
from avssl.signal.spectrum import widened

Number = float | int

# A band whose envelope varies by less has no correlation with others: it would be that of rounding.
LEAST_DEVIATION = 1e-6
# Added to the squares that statistics are divided by: float32's, as released.
EPSILON = float(np.finfo(np.float32).eps)


@dataclasses.dataclass(frozen=True)
class SoundTexture:
    """The 502 statistics that ambient sound's image network is to predict.

    Owens et al. 2016 ("Ambient Sound Provides Supervision for Visual Learning", ECCV, arXiv
    1608.07017) after McDermott & Simoncelli 2011 (Neuron). The training code is not public; this is
    `texture_stats` of the library in a later release of the author (andrewowens/multisensory,
    `aolib/subband.py`), whose defaults give the paper's 502 numbers. Of the envelopes of 32 bands (30
    from 20 Hz to 10 kHz, what is below, what is above) to the power 0.3, 400 times a second:
    - `mean` (32) and `deviation` (32), the latter divided by the mean;
    - `correlation` (117) of bands that are 1, 2, 3 or 5 apart, by lower band, then by distance;
    - `modulation` (32 x 10): the root of the mean square behind each of ten modulation filters, from
      0.5 to 200 Hz with quality 1, over the deviation of the band;
    - `loudness` (1): the median over time of the root of the bands' sum of squares, by which the
      envelopes are divided first if `normalized`.
    Means and variances divide by the number of samples. A silent or constant band has deviation,
    correlation and modulation 0. Several channels are averaged. Clusters, principal components and
    the groups' scales come from these over a data set: nothing of that is here.

    Departures: the release resamples sounds to 20 kHz, here the view's rate is taken as it is (the
    high-pass band of 44.1 kHz hears more); envelopes below 0 are 0, where it clips to [-1, 1]; it
    drops the loudness where nothing is normalised. Whether the paper normalised is not known.
    """

    num_bands: int = 30
    min_hz: Number = 20.0
    max_hz: Number = 10000.0
    exponent: Number = 0.3
    envelope_rate: Number = 400.0
    distances: tuple[int, ...] = (1, 2, 3, 5)
    num_modulations: int = 10
    min_modulation_hz: Number = 0.5
    max_modulation_hz: Number = 200.0
    modulation_quality: Number = 1.0
    normalized: bool = True

    def __post_init__(self) -> None:
        check_above_zero(
            self,
            "num_bands",
            "exponent",
            "envelope_rate",
            "min_modulation_hz",
            "modulation_quality",
        )

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Bands whose correlation is taken."""
        bands = self.num_bands + 2
        return [(i, i + d) for i in range(bands) for d in self.distances if i + d < bands]

    @property
    def sizes(self) -> dict[str, int]:
        """How many numbers each group has, in the order in which they stand."""
        bands = self.num_bands + 2
        return {
            "mean": bands,
            "deviation": bands,
            "correlation": len(self.pairs),
            "modulation": bands * self.num_modulations,
            "loudness": 1,
        }

    def __call__(self, waveform: Float[Array, "b n c"], *, rate: int) -> Float[Array, "b d"]:
        wide = waveform.astype(widened(waveform.dtype))
        num_samples = wide.shape[1]
        num_moments = round(num_samples * self.envelope_rate / rate)
        if num_moments < 2:
            raise UsageError(
                f"{num_samples} samples at {rate} Hz are too few for a sound texture: an envelope of "
                f"{self.envelope_rate:g} Hz has {num_moments} of them"
            )
        filters = cochlear_filters(
            num_samples=num_samples,
            rate=rate,
            num_bands=self.num_bands,
            min_hz=float(self.min_hz),
            max_hz=float(self.max_hz),
        )

        def textures(sound: Float[Array, "b n"]) -> Float[Array, "b d"]:
            return self.statistics(
                envelopes(sound, filters, num_samples=num_moments, exponent=float(self.exponent))
            )

        return by_device(textures, jnp.mean(wide, axis=2)).astype(waveform.dtype)

    def statistics(self, envelope: Float[Array, "b m k"]) -> Float[Array, "b d"]:
        """All groups beside each other, of envelopes [batch, moments, bands]."""
        loudness = jnp.median(jnp.sqrt(jnp.sum(envelope**2, axis=2)), axis=1)
        if self.normalized:
            heard = loudness > 0.0
            envelope = envelope / jnp.where(heard, loudness, 1.0)[:, None, None]
        mean = jnp.mean(envelope, axis=1)
        centred = envelope - mean[:, None]
        variance = jnp.mean(centred**2, axis=1)
        varies = variance > LEAST_DEVIATION**2
        variance = jnp.where(varies, variance, 0.0)
        first, second = np.array(self.pairs).T
        shared = jnp.mean(centred[:, :, first] * centred[:, :, second], axis=1)
        scale = jnp.sqrt(variance[:, first] * variance[:, second])
        groups = [
            mean,
            jnp.sqrt(variance / (mean**2 + EPSILON)),
            jnp.where(scale > 0.0, shared / jnp.where(scale > 0.0, scale, 1.0), 0.0),
            self._modulation(centred, variance).reshape(len(envelope), -1),
            loudness[:, None],
        ]
        return jnp.concatenate(groups, axis=1)

    def _modulation(
        self, centred: Float[Array, "b m k"], variance: Float[Array, "b k"]
    ) -> Float[Array, "b k q"]:
        """By Parseval: what the filters let through needs no way back to time."""
        size = centred.shape[1]
        filters = modulation_filters(
            num_samples=size,
            rate=float(self.envelope_rate),
            num_bands=self.num_modulations,
            min_hz=float(self.min_modulation_hz),
            max_hz=float(self.max_modulation_hz),
            quality=float(self.modulation_quality),
        )
        both_sides = np.full(len(filters), 2.0)
        both_sides[0] = 1.0
        if size % 2 == 0:
            both_sides[-1] = 1.0
        weights = jnp.asarray(filters**2 * both_sides[:, None] / size**2, centred.dtype)
        spectrum = jnp.abs(jnp.fft.rfft(centred, axis=1)) ** 2
        # HIGHEST: accelerators would round the powers to bf16 or TF32 first.
        power = jnp.einsum("bfk,fq->bkq", spectrum, weights, precision=jax.lax.Precision.HIGHEST)
        power = jnp.where(variance[:, :, None] > 0.0, power, 0.0)
        return jnp.sqrt(power / (variance + EPSILON)[:, :, None])
