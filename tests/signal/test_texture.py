"""The statistics against numpy's and scipy's: filters, analytic signals, resampling, correlations."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
from jax.sharding import AxisType, NamedSharding, PartitionSpec, use_abstract_mesh

from avssl.errors import UsageError
from avssl.signal.cochlea import cochlear_filters, envelopes, modulation_filters
from avssl.signal.texture import SoundTexture

pytestmark = pytest.mark.usefixtures("strict_dtypes", "float64")
RATE = 20000


def sounds(num_samples: int) -> np.ndarray:
    """Noise that swells, and a tone with beats over a little noise; two channels."""
    random = np.random.default_rng(0)
    time = np.arange(num_samples) / RATE
    noise = 0.1 * random.standard_normal((2, num_samples, 2))
    noise[0] *= (1 + np.sin(2 * np.pi * 7 * time))[:, None]
    tone = np.sin(2 * np.pi * 440 * time) * (1 + 0.5 * np.sin(2 * np.pi * 30 * time))
    noise[1] = 0.01 * noise[1] + 0.3 * tone[:, None]
    return noise


def silence(num_samples: int) -> jax.Array:
    return jnp.asarray(np.zeros((1, num_samples, 1)))


def erb(hz):
    return 9.265 * np.log(1 + hz / (24.7 * 9.265))


def reference_envelopes(sound, num_bands, num_moments):
    """One frequency and one band at a time."""
    size = len(sound)
    edges = np.linspace(erb(20.0), erb(10000.0), num_bands + 2)
    spectrum, hz = np.fft.rfft(sound), np.arange(size // 2 + 1) * RATE / size
    bands = []
    for band in range(num_bands + 2):
        gains = []
        for e in erb(hz):
            low, high = (edges[[band - 1, band + 1]]) if 0 < band < num_bands + 1 else (0, 0)
            if band == 0:
                gain = (
                    1.0 if e < edges[0] else np.cos(np.pi * (e - edges[1]) / (edges[2] - edges[0]))
                )
                gain = np.sqrt(1 - gain**2) if edges[0] <= e else 1.0
                gain = gain if e < edges[1] else 0.0
            elif band == num_bands + 1:
                inner = np.cos(np.pi * (e - edges[-2]) / (edges[-1] - edges[-3]))
                gain = np.sqrt(max(0.0, 1 - inner**2)) if e > edges[-2] else 0.0
            else:
                gain = (
                    np.cos(np.pi * (e - 0.5 * (low + high)) / (high - low)) if low < e < high else 0
                )
            gains.append(gain)
        sub = np.fft.irfft(spectrum * np.array(gains), size)
        bands.append(np.abs(scipy.signal.hilbert(sub)) ** 0.3)
    return np.maximum(scipy.signal.resample(np.array(bands).T, num_moments), 0)


def reference_statistics(envelope, distances, num_modulations, rate):
    loudness = np.median(np.sqrt((envelope**2).sum(axis=1)))
    envelope = envelope / loudness
    eps = np.finfo(np.float32).eps
    mean, variance = envelope.mean(axis=0), envelope.var(axis=0)
    correlations = [
        np.corrcoef(envelope[:, i], envelope[:, i + d])[0, 1]
        for i in range(len(mean))
        for d in distances
        if i + d < len(mean)
    ]
    size = len(envelope)
    hz = np.arange(size // 2 + 1) * rate / size
    middles = 2 ** np.linspace(np.log2(0.5), np.log2(200), num_modulations)
    filters = [np.where(abs(hz - f) < f, np.cos((hz - f) / (2 * f) * np.pi), 0.0) for f in middles]
    energy = np.sum(np.square(filters), axis=0)[(hz >= middles[3]) & (hz <= middles[-4])]
    modulations = []
    for band, var in zip(envelope.T, variance, strict=True):
        for gain in filters:
            sub = np.fft.irfft(np.fft.rfft(band) * gain / np.sqrt(energy.mean()), size)
            modulations.append(np.sqrt(np.mean(sub**2) / (eps + var)))
    deviation = np.sqrt(variance / (eps + mean**2))
    return np.concatenate([mean, deviation, correlations, modulations, [loudness]])


@pytest.mark.parametrize(("num_samples", "num_moments"), [(10000, 200), (9951, 199)])
def test_statistics_are_those_of_numpy_and_scipy(num_samples, num_moments):
    """Sizes even and odd."""
    texture = SoundTexture(num_bands=6)
    clips = sounds(num_samples)
    actual = jax.jit(texture, static_argnames="rate")(jnp.asarray(clips), rate=RATE)
    narrow = jax.jit(texture, static_argnames="rate")(jnp.asarray(clips, jnp.float32), rate=RATE)
    assert (actual.dtype, narrow.dtype) == (jnp.float64, jnp.float32)
    for clip, row, narrow_row in zip(clips, actual, narrow, strict=True):
        envelope = reference_envelopes(clip.mean(axis=1), 6, num_moments)
        expected = reference_statistics(envelope, (1, 2, 3, 5), 10, 400.0)
        np.testing.assert_allclose(row, expected, rtol=1e-8, atol=1e-9)
        np.testing.assert_allclose(narrow_row, expected, rtol=2e-3, atol=2e-4)


def test_the_papers_502_numbers():
    texture = SoundTexture()
    assert texture.sizes == {
        "mean": 32, "deviation": 32, "correlation": 117, "modulation": 320, "loudness": 1
    }  # fmt: skip
    clip = jax.ShapeDtypeStruct((2, 3 * RATE, 1), jnp.float32)
    assert jax.eval_shape(lambda x: texture(x, rate=RATE), clip).shape == (2, 502)


def test_cochlear_filters_lose_nothing():
    filters = cochlear_filters(
        num_samples=4001, rate=RATE, num_bands=30, min_hz=20.0, max_hz=10000.0
    )
    assert filters.shape == (2001, 32)
    np.testing.assert_allclose((filters**2).sum(axis=1), 1.0, atol=1e-12)


def test_a_beat_is_heard_where_it_is():
    """30 beats a second: most in the modulation filter whose middle is nearest."""
    texture = SoundTexture(num_bands=6)
    row = jax.jit(texture, static_argnames="rate")(jnp.asarray(sounds(20000)), rate=RATE)[1]
    start = sum(texture.sizes[name] for name in ("mean", "deviation", "correlation"))
    modulation = np.asarray(row[start:-1]).reshape(8, 10)
    middles = np.geomspace(0.5, 200, 10)
    loudest = int(np.argmax(row[:8]))
    assert abs(np.log(middles[np.argmax(modulation[loudest])] / 30)) < np.log(400) / 9


def test_silence_and_constants_are_finite():
    texture = SoundTexture(num_bands=6)
    silent = jax.jit(texture, static_argnames="rate")(
        jnp.zeros((1, 4000, 1), jnp.float32), rate=RATE
    )
    np.testing.assert_array_equal(silent, 0.0)
    steady = np.broadcast_to(np.linspace(0.1, 1, 8, dtype=np.float32), (1, 100, 8))
    (row,) = jax.jit(texture.statistics)(jnp.asarray(steady))
    assert np.isfinite(row).all()
    np.testing.assert_array_equal(row[8:-1], 0.0)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda: SoundTexture()(silence(60), rate=RATE),
            "60 samples at 20000 Hz are too few",
        ),
        (lambda: SoundTexture()(silence(8000), rate=16000), "max_hz <= 8000"),
        (
            lambda: envelopes(silence(9)[:, :, 0], np.ones((5, 1)), num_samples=9, exponent=1.0),
            "9 samples of a sound cannot give 9",
        ),
        (
            lambda: modulation_filters(
                num_samples=2, rate=400.0, num_bands=10, min_hz=0.5, max_hz=200.0, quality=1.0
            ),
            "too few for modulation filters",
        ),
        (
            lambda: modulation_filters(
                num_samples=99, rate=400.0, num_bands=7, min_hz=0.5, max_hz=200.0, quality=1.0
            ),
            "8 or more, not 7",
        ),
    ],
)
def test_what_cannot_be_heard(call, sentence):
    with pytest.raises(UsageError, match=sentence):
        call()


def test_each_device_hears_its_own_sounds_alone():
    """What FFTs would do otherwise: every device would hold the bands of all clips."""
    mesh = jax.make_mesh((4, 2), ("data", "fsdp"), axis_types=(AxisType.Auto,) * 2)
    split = NamedSharding(mesh, PartitionSpec(("data", "fsdp")))
    texture = partial(SoundTexture(max_hz=2000.0), rate=4000)

    def step(noise):
        with use_abstract_mesh(mesh.abstract_mesh):
            return texture(noise)

    noise = jax.random.normal(jax.random.key(0), (8, 4000, 1))
    compiled = jax.jit(step, in_shardings=split, out_shardings=split).lower(noise).compile()
    assert "all-gather" not in compiled.as_text()
    together = texture(noise)
    np.testing.assert_allclose(
        compiled(jax.device_put(noise, split)), together, rtol=1e-4, atol=1e-5
    )
    with use_abstract_mesh(mesh.abstract_mesh):
        np.testing.assert_allclose(texture(noise[:3]), together[:3], rtol=1e-4, atol=1e-5)
