"""Front ends of the methods, and how a config builds them."""

import dataclasses
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

from avssl.errors import UsageError
from avssl.signal.frontends import (
    FRONTENDS,
    LogFilterbank,
    LogMel,
    LogSpectrogram,
    Rgb,
    StftDecibel,
    Waveform,
    build_frontend,
)

pytestmark = pytest.mark.usefixtures("strict_dtypes")


def noise(*shape: int, seed: int = 0) -> jnp.ndarray:
    values = np.clip(0.2 * np.random.default_rng(seed).standard_normal(shape), -1, 1)
    return jnp.asarray(values, jnp.float32)


def test_avid_gives_200_frames_of_257_bins():
    waveform = noise(1, 48000, 1)
    level = apply(StftDecibel(), waveform, 24000)
    assert level.shape == (1, 200, 257, 1)
    spectrum = np.abs(
        scipy.signal.stft(
            np.asarray(waveform)[0, :, 0], window="hann", nperseg=1024, noverlap=1024 - 240,
            boundary="zeros", padded=False, scaling="spectrum",
        )[2]
    ).T * 512  # fmt: skip
    power = spectrum[:200].astype(np.float64) ** 2
    paired = np.concatenate([power[:, :1], (power[:, 1::2] + power[:, 2::2]) / 2], axis=1)
    bare = apply(StftDecibel(statistics=None), waveform, 24000)
    np.testing.assert_allclose(bare[0, :, :, 0], 10 * np.log10(paired), rtol=0, atol=2e-3)
    # The shipped statistics bring ordinary sound near zero mean and unit variance.
    assert abs(float(level.mean())) < 2.5
    assert level.std() < 2


AVSA = LogMel(num_mels=128, fft_size=512, power=1, top_db=100, statistics="avsa")


@pytest.mark.parametrize(
    ("method", "shipped"), [("avid", StftDecibel()), ("avsa", AVSA)], ids=["avid", "avsa"]
)
def test_shipped_statistics_are_the_official_ones(method, shipped):
    with np.load(Path(__file__).parents[1] / "goldens" / f"{method}_audio.npz") as golden:
        mean, divisor = golden["mean"].tolist(), (golden["std"] + 1e-5).tolist()
    own = dataclasses.replace(shipped, statistics=None, mean=tuple(mean), std=tuple(divisor))
    waveform = noise(1, 24000, 1)
    found, expected = (apply(frontend, waveform, 24000) for frontend in (shipped, own))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_shipped_statistics_are_only_for_their_own_rate():
    with pytest.raises(UsageError, match=r"'avid' are for 24000 Hz, not 16000 Hz"):
        apply(StftDecibel(), noise(1, 16000, 1), 16000)
    assert apply(AVSA, noise(1, 24000, 1), 24000).shape == (1, 100, 128, 1)


@pytest.mark.parametrize(
    "fields",
    [
        {"num_mels": 64}, {"fft_size": 1024}, {"window_samples": 400}, {"power": 2}, {"top_db": 80.0},
        {"mel_scale": "htk"}, {"equal_area": False}, {"min_hz": 20.0}, {"max_hz": 8000.0},
    ],
)  # fmt: skip
def test_shipped_statistics_are_only_for_their_own_numbers(fields):
    ((key, value),) = fields.items()
    with pytest.raises(UsageError, match=f"'avsa' are for {key}=.*, not {value!r}; set statistics"):
        dataclasses.replace(AVSA, **fields)


def test_statistics_that_do_not_fit():
    with pytest.raises(UsageError, match="'avid' are for pair_bins=True, not False"):
        StftDecibel(pair_bins=False)
    with pytest.raises(UsageError, match="are for the front end StftDecibel, not LogMel"):
        LogMel(statistics="avid")
    with pytest.raises(UsageError, match="did you mean 'avid'"):
        StftDecibel(statistics="avit")
    with pytest.raises(UsageError, match="statistics to None"):
        StftDecibel(mean=-30.0)
    with pytest.raises(UsageError, match="3 values for 64 bins"):
        apply(LogMel(mean=(1.0, 2.0, 3.0)), noise(1, 4800, 1), 24000)


def test_l3net_is_scipys_spectrogram():
    waveform = noise(1, 48000, 2)
    level = apply(LogSpectrogram(), waveform, 48000)
    assert level.shape == (1, 199, 257, 2)
    for channel in range(2):
        _, _, magnitude = scipy.signal.spectrogram(
            np.asarray(waveform)[0, :, channel].astype(np.float64), fs=48000, window="hann",
            nperseg=480, noverlap=240, nfft=512, detrend=False, scaling="spectrum",
            mode="magnitude",
        )  # fmt: skip
        np.testing.assert_allclose(
            level[0, :, :, channel], np.log(magnitude.T) / 5, rtol=0, atol=1e-4
        )
    silent = apply(LogSpectrogram(), jnp.zeros((1, 4800, 1)), 48000)
    np.testing.assert_allclose(silent, np.log(1e-12) / 5, rtol=1e-5)


def apply(frontend, waveform: jax.Array, rate: int) -> np.ndarray:
    return np.asarray(jax.jit(frontend, static_argnames="rate")(waveform, rate=rate))


def triangle(bin_index: int, lower: float, center: float, upper: float) -> float:
    if lower <= bin_index < center:
        return (bin_index - lower) / (center - lower)
    if center <= bin_index < upper:
        return (upper - bin_index) / (upper - center)
    return 0.0


@pytest.mark.parametrize("num_samples", [2400, 2500])
def test_selavi_is_the_log_of_filterbank_energies(num_samples: int):
    rate, num_bands = 24000, 40
    waveform = noise(1, num_samples, 1)
    level = apply(LogFilterbank(num_bands=num_bands), waveform, rate)

    samples = np.asarray(waveform)[0, :, 0].astype(np.float64) * 32768
    samples = np.append(samples[0], samples[1:] - 0.97 * samples[:-1])
    top = 2595 * np.log10(1 + rate / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, num_bands + 2) / 2595) - 1)
    corners = np.floor(1025 * edges / rate)
    rows = []
    for start in range(0, len(samples) - 240, 240):
        power = np.abs(np.fft.rfft(samples[start : start + 480], 1024)) ** 2 / 1024
        energies = [
            sum(power[i] * triangle(i, *corners[band : band + 3]) for i in range(513))
            for band in range(num_bands)
        ]
        rows.append([np.log(energy or 2.220446049250313e-16) for energy in energies])
    assert level.shape == (1, len(rows), num_bands, 1)
    np.testing.assert_allclose(level[0, :, :, 0], rows, rtol=0, atol=1e-4)


def test_selavis_empty_bands_and_standardisation():
    level = apply(LogFilterbank(), noise(1, 24000, 1), 24000)
    assert level.shape == (1, 99, 257, 1)
    empty = np.log(np.finfo(np.float64).eps)
    np.testing.assert_allclose(level.min(), empty, rtol=1e-6)
    assert level[:, :, -1].min() > 0
    scaled = apply(LogFilterbank(mean=1.93, std=17.89), noise(1, 24000, 1), 24000)
    np.testing.assert_allclose(scaled, (level - 1.93) / 17.89, rtol=1e-5, atol=1e-6)


def test_waveform_and_rgb():
    waveform = noise(2, 100, 4)
    samples = Waveform()(waveform, rate=24000)
    assert samples.shape == (2, 100, 1, 4)
    np.testing.assert_array_equal(samples[:, :, 0], waveform)

    video = jnp.full((1, 2, 3, 3, 3), 0.5)
    np.testing.assert_allclose(
        Rgb()(video)[0, 1, 2, 2],
        [(0.5 - 0.485) / 0.229, (0.5 - 0.456) / 0.224, (0.5 - 0.406) / 0.225],
        rtol=1e-5,
    )
    assert Rgb()(video.astype(jnp.bfloat16)).dtype == jnp.bfloat16


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", sorted(FRONTENDS))
def test_float64_stays(name: str):
    frontend = build_frontend({"name": name})
    if frontend.modality == "video":
        clip = jax.ShapeDtypeStruct((1, 1, 2, 2, 3), jnp.float64)
        result = jax.eval_shape(frontend, clip)
    else:
        clip = jax.ShapeDtypeStruct((1, 4800, 1), jnp.float64)
        result = jax.eval_shape(partial(frontend, rate=24000), clip)
    assert result.dtype == jnp.float64


def test_built_from_a_config():
    frontend = build_frontend({"name": "log_mel", "num_mels": 2, "mean": [1, 2], "top_db": 60})
    assert frontend == LogMel(num_mels=2, mean=(1, 2), top_db=60)
    hash(frontend)
    with pytest.raises(UsageError, match="did you mean 'log_mel'"):
        build_frontend({"name": "logmel"})
    with pytest.raises(UsageError, match="unknown frontend 'None'"):
        build_frontend({})
    with pytest.raises(
        UsageError, match="key of frontend 'log_mel' 'n_mels'; did you mean 'num_mels'"
    ):
        build_frontend({"name": "log_mel", "n_mels": 3})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "log_mel", "power": 3}, "1 or 2, not 3"),
        ({"name": "log_mel", "padding": "zeros"}, "did you mean 'zero'"),
        ({"name": "log_mel", "mel_scale": "htc"}, "did you mean 'htk'"),
        ({"name": "log_mel", "top_db_over": "batch"}, "top_db_over"),
        ({"name": "log_mel", "fft_size": 513}, "even, not 513"),
        ({"name": "log_mel", "window_samples": 2048}, "window_samples"),
        ({"name": "stft_db", "fft_size": 510}, "divisible by 4"),
        ({"name": "log_filterbank", "fft_size": 7}, "even, not 7"),
        ({"name": "log_mel", "std": 0.0}, "std of a frontend must be above 0, not 0.0"),
        ({"name": "log_mel", "num_mels": 2, "std": (1.0, -1.0)}, "std .* above 0, not -1.0"),
        ({"name": "log_mel", "std": float("nan")}, "std .* above 0, not nan"),
        ({"name": "log_mel", "floor": 0.0}, "floor of a frontend must be above 0"),
        ({"name": "log_mel", "top_db": -1.0}, "top_db of a frontend must be at least 0, not -1.0"),
        ({"name": "log_mel", "num_mels": 0}, "num_mels .* from 1 to 513"),
        ({"name": "log_mel", "num_mels": 300, "fft_size": 512}, "num_mels .* 257, the bins of"),
        ({"name": "stft_db", "floor": -1.0}, "floor"),
        ({"name": "log_spectrogram", "divisor": 0}, "divisor of a frontend must be above 0"),
        ({"name": "log_spectrogram", "floor": 0.0}, "floor"),
        ({"name": "log_filterbank", "full_scale": 0}, "full_scale"),
        ({"name": "log_filterbank", "num_bands": 600}, "num_bands .* from 1 to 513"),
        ({"name": "log_filterbank", "std": 0}, "std"),
        ({"name": "waveform", "gain": 0}, "gain of a frontend must be above 0, not 0"),
        ({"name": "texture", "exponent": -0.3}, "exponent of a frontend must be above 0"),
        ({"name": "texture", "min_modulation_hz": 0.0}, "min_modulation_hz"),
        ({"name": "rgb", "std": [0.2, 0.0, 0.2]}, "std of a frontend must be above 0, not 0.0"),
        ({"name": "rgb", "mean": [0.5]}, "mean of a frontend must be three numbers"),
    ],
)
def test_impossible_fields(fields: dict, message: str):
    with pytest.raises(UsageError, match=message):
        build_frontend(fields)


@pytest.mark.parametrize(
    ("frontend", "num_samples", "message"),
    [
        (LogMel(max_hz=20000.0), 4800, "max_hz <= 12000"),
        (LogMel(min_hz=500.0, max_hz=400.0), 4800, "not 500 and 400"),
        (LogMel(hop_seconds=0.5), 4800, "the clip's 4800 samples"),
        (LogSpectrogram(), 100, "a window of 240 samples, the clip has 100"),
        (LogSpectrogram(window_seconds=1.0), 4800, "at most fft_size"),
    ],
)
def test_impossible_for_this_clip(frontend, num_samples: int, message: str):
    with pytest.raises(UsageError, match=message):
        frontend(jnp.zeros((1, num_samples, 1)), rate=24000)
