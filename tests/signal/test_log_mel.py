"""LogMel against librosa: a voice made of harmonics, what surrounds it, and the sound of a decoded file."""

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest

from avssl.config import load_config
from avssl.media.decode import decode_audio
from avssl.signal.frontends import LogMel, build_frontend
from avssl.world.generate import generate
from avssl.world.registry import find_world

pytestmark = pytest.mark.usefixtures("strict_dtypes")
RATE = 24000


def voice(seed: int, seconds: float = 1.0, rate: int = RATE) -> np.ndarray:
    """Syllables with pauses: harmonics of a gliding pitch under three formants, some breath; 16
    bits."""
    random = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    pitch = random.uniform(90, 220) + 25 * np.sin(2 * np.pi * random.uniform(2, 4) * time)
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    sound = np.zeros_like(time)
    for harmonic in range(1, int(rate / 2 / 260)):
        frequency = harmonic * pitch
        formants = sum(
            gain * np.exp(-(((frequency - center) / width) ** 2))
            for gain, center, width in ((1, 600, 300), (0.5, 1700, 400), (0.2, 2900, 500))
        )
        sound += (formants + 0.01 / harmonic) * np.sin(harmonic * phase)
    syllables = np.clip(np.sin(2 * np.pi * 3 * time + random.uniform(0, 6)), 0, None) ** 2
    sound = (sound + 0.02 * random.standard_normal(len(time))) * syllables
    return np.round(0.7 * sound / np.abs(sound).max() * 32767).astype(np.int16)


def apply(frontend: LogMel, waveform: jax.Array, rate: int = RATE) -> np.ndarray:
    return np.asarray(jax.jit(frontend, static_argnames="rate")(waveform, rate=rate))


def mel_of_librosa(samples: np.ndarray, rate: int, frontend: LogMel) -> np.ndarray:
    return librosa.feature.melspectrogram(
        y=samples.astype(np.float64),
        sr=rate,
        n_fft=frontend.fft_size,
        hop_length=round(frontend.hop_seconds * rate),
        win_length=frontend.window_samples,
        n_mels=frontend.num_mels,
        power=frontend.power,
        htk=frontend.mel_scale == "htk",
        norm="slaney" if frontend.equal_area else None,
        fmin=frontend.min_hz,
        fmax=frontend.max_hz,
        pad_mode={"zero": "constant", "reflect": "reflect"}[frontend.padding],
    )


VARIANTS = {
    "default": (RATE, {}),
    "magnitude": (RATE, {"power": 1, "num_mels": 40, "fft_size": 512}),
    "htk": (16000, {"mel_scale": "htk", "equal_area": False, "min_hz": 60.0, "max_hz": 7600.0}),
    "window": (22050, {"window_samples": 551, "padding": "reflect", "num_mels": 80}),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_equals_librosa(variant: str):
    rate, options = VARIANTS[variant]
    samples = (voice(1, rate=rate) / 32768).astype(np.float32)
    # Without a floor, to see the power of the quietest bands too.
    bare = LogMel(**options, floor=1e-30, top_db=None, last_frame=True)
    expected = mel_of_librosa(samples, rate, bare)
    waveform = jnp.asarray(samples)[None, :, None]

    level = apply(bare, waveform, rate)[0, :, :, 0].T
    assert level.shape == expected.shape
    power = 10 ** (level.astype(np.float64) / 10)
    np.testing.assert_allclose(power, expected, rtol=0, atol=1e-4 * expected.max())

    usual = LogMel(**options, last_frame=True)
    level = apply(usual, waveform, rate)[0, :, :, 0].T
    expected_db = librosa.power_to_db(expected)
    assert (expected_db == expected_db.max() - 80).any() or (expected_db == -100).any()
    np.testing.assert_allclose(level, expected_db, rtol=0, atol=1e-3)


def test_dmc_hears_as_vggish():
    """`mel_features.log_mel_spectrogram`: magnitudes through triangles of height 1, natural logarithms."""
    config = load_config("configs/pretrain/dmc.py")
    samples = (voice(8, seconds=2.0, rate=config.views.audio.rate) / 32768).astype(np.float32)
    frontend = build_frontend(config.encoders.audio.frontend.to_dict())
    level = apply(frontend, jnp.asarray(samples)[None, :, None], config.views.audio.rate)
    magnitudes = librosa.feature.melspectrogram(
        y=samples.astype(np.float64), sr=16000, n_fft=2048, win_length=1280, hop_length=800,
        n_mels=64, fmin=125.0, fmax=7500.0, htk=True, norm=None, power=1,
    )  # fmt: skip
    expected = np.log(np.maximum(magnitudes, 0.01))[:, : level.shape[1]]
    np.testing.assert_allclose(level[0, :, :, 0].T, expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("index", range(3))
def test_equals_librosa_on_a_decoded_file(index: int):
    media, _ = generate(find_world("tiny"), "train", index)
    sound = decode_audio(media, start_seconds=0.0, seconds=1.0, rate=RATE, channels=1)
    samples = (sound[:, 0] / 32768).astype(np.float32)
    assert np.abs(samples).max() > 0.05
    waveform = jnp.asarray(samples)[None, :, None]
    expected = mel_of_librosa(samples, RATE, LogMel())

    bare = LogMel(floor=1e-30, top_db=None, last_frame=True)
    power = 10 ** (apply(bare, waveform)[0, :, :, 0].T.astype(np.float64) / 10)
    np.testing.assert_allclose(power, expected, rtol=0, atol=1e-4 * expected.max())
    level = apply(LogMel(last_frame=True), waveform)[0, :, :, 0].T
    np.testing.assert_allclose(level, librosa.power_to_db(expected), rtol=0, atol=1e-3)


@pytest.mark.usefixtures("float64")
def test_equals_librosa_in_float64_to_rounding():
    samples = voice(2) / 32768
    frontend = LogMel(last_frame=True)
    level = apply(frontend, jnp.asarray(samples)[None, :, None])
    assert level.dtype == jnp.float64
    expected = librosa.power_to_db(mel_of_librosa(samples, RATE, frontend))
    # librosa holds its filters in float32.
    np.testing.assert_allclose(level[0, :, :, 0].T, expected, rtol=0, atol=5e-6)


def test_last_frame_is_dropped_unless_asked_for():
    waveform = jnp.asarray(voice(3) / 32768, jnp.float32)[None, :, None]
    kept = apply(LogMel(last_frame=True, top_db=None), waveform)
    level = apply(LogMel(top_db=None), waveform)
    assert kept.shape == (1, 101, 64, 1)
    np.testing.assert_array_equal(level, kept[:, :100])


def test_clips_and_channels_do_not_touch_each_other():
    loud, quiet = (voice(seed) / 32768 * gain for seed, gain in ((4, 1.0), (5, 1e-3)))
    stereo = jnp.asarray(np.stack([loud, quiet], -1)[None], jnp.float32)
    alone = [
        apply(LogMel(), jnp.asarray(sound, jnp.float32)[None, :, None]) for sound in (loud, quiet)
    ]
    batch = apply(LogMel(), stereo.transpose(2, 1, 0))
    np.testing.assert_allclose(batch, np.concatenate(alone), rtol=0, atol=1e-4)

    by_channel = apply(LogMel(top_db_over="channel"), stereo)
    np.testing.assert_allclose(by_channel, np.concatenate(alone, axis=3), rtol=0, atol=1e-4)
    by_clip = apply(LogMel(top_db_over="clip"), stereo)
    assert by_clip[..., 1].min() == pytest.approx(by_clip.max() - 80, abs=1e-4)
    assert by_channel[..., 1].min() < by_clip[..., 1].min() - 10


def test_bf16_goes_through_float32():
    waveform = jnp.asarray(voice(6) / 32768, jnp.bfloat16)[None, :, None]
    level = apply(LogMel(), waveform)
    assert level.dtype == jnp.bfloat16
    expected = apply(LogMel(), waveform.astype(jnp.float32))
    np.testing.assert_array_equal(level, expected.astype(jnp.bfloat16))


def test_silence_gives_the_floor():
    level = apply(LogMel(), jnp.zeros((2, 4800, 1)))
    np.testing.assert_allclose(level, -100.0, rtol=1e-6)


def test_standardisation_by_one_number_and_by_bin():
    waveform = jnp.asarray(voice(7, seconds=0.3) / 32768, jnp.float32)[None, :, None]
    level = apply(LogMel(num_mels=8), waveform)
    scalar = apply(LogMel(num_mels=8, mean=-40.0, std=20.0), waveform)
    np.testing.assert_allclose(scalar, (level + 40.0) / 20.0, rtol=1e-5, atol=1e-6)
    mean, std = tuple(range(-8, 0)), tuple(range(1, 9))
    by_bin = apply(LogMel(num_mels=8, mean=mean, std=std), waveform)
    expected = (level[0, :, :, 0] - np.array(mean)) / np.array(std)
    np.testing.assert_allclose(by_bin[0, :, :, 0], expected, rtol=1e-5, atol=1e-5)
