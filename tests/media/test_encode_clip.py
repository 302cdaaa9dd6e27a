"""What `encode_clip` writes is what `decode_*` reads, and always the same bytes."""

import hashlib
import io
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from avssl.errors import UsageError
from avssl.media.decode import decode_audio, decode_frames
from avssl.media.encode import encode_clip
from avssl.media.probe import probe
from tests.media.make_media import click_times, clicks, frame_numbers, numbered_frames


def encode_noise(path: Path | None = None) -> bytes:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (9, 32, 48, 3), dtype=np.uint8)
    sound = rng.integers(-9000, 9000, (8000, 2), dtype=np.int16)
    return encode_clip(frames, 16, sound, 16000, path=path)


def test_same_bytes_on_every_call_and_in_every_process(tmp_path):
    encoded = encode_noise(tmp_path / "clip.mp4")
    assert encode_noise() == encoded
    assert (tmp_path / "clip.mp4").read_bytes() == encoded
    program = (
        "import hashlib; from tests.media.test_encode_clip import encode_noise; "
        "print(hashlib.sha256(encode_noise()).hexdigest())"
    )
    other = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert other.stdout.strip() == hashlib.sha256(encoded).hexdigest()
    assert b"Lavf" not in encoded


def test_frames_and_sound_come_back():
    sound = clicks([0.3, 0.9, 1.6], 2.0, 24000, 2)
    encoded = encode_clip(numbered_frames(range(32)), 16, sound, 24000)
    frames = decode_frames(encoded, start_seconds=0, end_seconds=9)
    assert frame_numbers(frames.pixels) == list(range(32))
    np.testing.assert_allclose(frames.times, np.arange(32) / 16, atol=1e-9)
    error = frames.pixels.astype(float) - numbered_frames(range(32))
    assert np.sqrt(np.mean(error**2)) < 8
    decoded = decode_audio(encoded, start_seconds=0, seconds=2, rate=24000, channels=2)
    assert np.sqrt(np.mean((decoded.astype(float) - sound) ** 2)) < 0.1 * sound.std()
    described = probe(encoded)
    assert described.duration_seconds == 2.0
    assert (described.fps, described.width, described.height) == (16, 64, 48)
    assert (described.audio_rate, described.audio_channels) == (24000, 2)


@pytest.mark.parametrize("fps", [16, 12.5, 29.97, Fraction(30000, 1001)])
def test_frame_rates(fps):
    encoded = encode_clip(numbered_frames(range(20)), fps, None, 0)
    times = decode_frames(encoded, start_seconds=0, end_seconds=9).times
    np.testing.assert_allclose(times, np.arange(20) / float(fps), atol=1e-5)


def test_four_channels_stay_apart():
    times = [[0.2], [0.4], [0.6], [0.8]]
    encoded = encode_clip(None, 1, clicks(times, 1.0, 24000, 4), 24000)
    decoded = decode_audio(encoded, start_seconds=0, seconds=1, rate=24000, channels=4)
    for channel, expected in enumerate(times):
        heard = click_times(decoded[:, channel], 24000, threshold=0.1)
        np.testing.assert_allclose(heard, expected, atol=1e-3)


@pytest.mark.parametrize("gop", [4, 16])
def test_a_keyframe_every_gop_and_nowhere_else(gop):
    # A cut in the middle would tempt an encoder to put one there.
    frames = np.concatenate([numbered_frames(range(11)), 255 - numbered_frames(range(30))])
    encoded = encode_clip(frames, 16, None, 0, gop=gop)
    with av.open(io.BytesIO(encoded)) as file:
        keys = [p.is_keyframe for p in file.demux(video=0) if p.size]
    assert np.flatnonzero(keys).tolist() == list(range(0, 41, gop))


def test_what_cannot_be_written_is_said():
    sound = np.zeros((100, 1), np.int16)
    with pytest.raises(UsageError, match=r"33x48: H\.264 needs even sides"):
        encode_clip(np.zeros((2, 33, 48, 3), np.uint8), 16, None, 0)
    with pytest.raises(UsageError, match="AAC cannot hold 24001 Hz"):
        encode_clip(None, 16, sound, 24001)
    with pytest.raises(UsageError, match="1, 2 or 4 channels, not 3"):
        encode_clip(None, 16, np.zeros((100, 3), np.int16), 24000)
    with pytest.raises(UsageError, match="needs frames or sound"):
        encode_clip(None, 16, sound[:0], 24000)
