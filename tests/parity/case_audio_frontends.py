"""The front ends of AVID, AVSA and SeLaVi: exact in float64, and as near as float32 can in float32.

To save space the stored goldens leave out every normalised spectrogram (it follows from the raw
one), some frames (`frames` and `frames_reflect` say which are there; all where they are absent),
and two of AVSA's four channels, which do not depend on each other.
"""

import jax
import jax.numpy as jnp
import numpy as np

from avssl.signal.frontends import LogFilterbank, LogMel, StftDecibel

RATE = 24000
EPSILON = 1e-5
DECIBEL = np.log(10) / 10


def apply(frontend, waveform: np.ndarray, dtype) -> np.ndarray:
    """[channels, samples] -> [channels, time, frequency]."""
    clip = jnp.asarray(waveform.T[None], dtype)
    result = jax.jit(frontend, static_argnames="rate")(clip, rate=RATE)
    return np.moveaxis(np.asarray(result)[0], 2, 0)


def check(frontend, waveform: np.ndarray, expected: np.ndarray, frames=slice(None), unit=1.0):
    """`unit`: how much one decibel is in the numbers of this front end."""
    with jax.enable_x64(True):
        exact = apply(frontend, waveform, jnp.float64)[:, frames]
    assert exact.shape == expected.shape
    np.testing.assert_allclose(exact, expected, rtol=0, atol=2e-5 * unit)

    single = apply(frontend, waveform, jnp.float32)[:, frames]
    # The rounding of the loudest sounds is what limits the quietest points.
    audible = expected > expected.max() - 80 * unit
    np.testing.assert_allclose(single[audible], expected[audible], rtol=0, atol=1e-3 * unit)


def check_standardised(frontend_type, fields: dict, waveform: np.ndarray, golden: dict, stem: str):
    mean, divisor = golden["mean"], golden["std"] + EPSILON
    for suffix, padding in (("", "zero"), ("_reflect", "reflect")):
        raw = golden[f"{stem}_raw{suffix}"]
        frames = golden.get(f"frames{suffix}", slice(None))
        check(frontend_type(**fields, padding=padding), waveform, raw, frames)

        statistics = {"mean": tuple(mean.tolist()), "std": tuple(divisor.tolist())}
        frontend = frontend_type(**fields, padding=padding, **statistics)
        normalised = golden.get(f"{stem}_norm{suffix}", (raw - mean) / divisor)
        check(frontend, waveform, normalised, frames, unit=1 / divisor.min())


def check_avid_audio(golden: dict):
    num_bins = golden["logspec_raw"].shape[-1]
    fields = {"fft_size": 4 * (num_bins - 1), "statistics": None}
    check_standardised(StftDecibel, fields, golden["wav"][None], golden, "logspec")


def check_avsa_audio(golden: dict):
    num_mels = golden["logmel_raw"].shape[-1]
    fields = {"num_mels": num_mels, "fft_size": 512, "power": 1, "top_db": 100.0}
    fields |= {"top_db_over": "channel"}
    check_standardised(LogMel, fields, golden["ambix"], golden, "logmel")


def check_selavi_audio(golden: dict):
    samples = golden["wav_int16"]
    # The official code falls back to the last second where the wanted one is cut short.
    start = min(round(float(golden["fr_sec"]) * RATE), len(samples) - RATE)
    waveform = samples[None, start : start + RATE] / 32768
    for kind in ("type1", "type2"):
        raw = golden[f"spec_{kind}_z0"]
        fields = {"num_bands": raw.shape[1]}
        check(LogFilterbank(**fields), waveform, raw.swapaxes(1, 2), unit=DECIBEL)
        scaled = golden.get(f"spec_{kind}_z1", (raw - 1.93) / 17.89)
        frontend = LogFilterbank(**fields, mean=1.93, std=17.89)
        check(frontend, waveform, scaled.swapaxes(1, 2), unit=DECIBEL / 17.89)
