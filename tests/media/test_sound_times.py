"""Samples come from the time that was asked for, to 1 ms, whatever the file does."""

import io
from fractions import Fraction

import av
import numpy as np
import pytest

from avssl.errors import UsageError
from avssl.media.decode import decode_audio, decode_clip, decode_frames
from avssl.media.encode import encode_clip
from tests.media.make_media import click_times, clicks, make_media, numbered_frames

CLICKS = [0.4, 1.1, 1.7, 2.6]
SECONDS = 3.0
MILLISECOND = 1e-3


def assert_clicks(media, expected, *, rates=(24000,), starts=(0.0, 0.33, 1.03), channels=1):
    """The clicks are heard in every window that holds them, and no others."""
    for rate in rates:
        for start in starts:
            seconds = SECONDS + 0.4 - start
            samples = decode_audio(
                media, start_seconds=start, seconds=seconds, rate=rate, channels=channels
            )
            assert samples.dtype == np.int16
            assert samples.shape == (round(seconds * rate), channels)
            heard = [time + start for time in click_times(samples[:, 0], rate)]
            wanted = [time for time in expected if time > start + 0.01]
            assert len(heard) == len(wanted), (rate, start, heard)
            np.testing.assert_allclose(heard, wanted, atol=MILLISECOND)


@pytest.mark.parametrize(
    ("container", "codec", "rate"),
    [
        ("mp4", "aac", 48000),
        ("mp4", "aac", 22050),
        ("mov", "pcm_s16le", 44100),
        ("matroska", "aac", 44100),
        ("matroska", "pcm_s16le", 44100),
        ("webm", "libopus", 48000),
        ("ogg", "libopus", 48000),
        ("wav", "pcm_s16le", 44100),
        ("flac", "flac", 44100),
        ("mp3", "libmp3lame", 44100),
    ],
)
def test_containers_codecs_and_rates(container, codec, rate):
    file = make_media(
        container, audio=clicks(CLICKS, SECONDS, rate), audio_rate=rate, audio_codec=codec
    )
    assert_clicks(file, CLICKS, rates=(16000, 24000, 48000))


@pytest.mark.parametrize("container", ["mpegts", "flv"])
def test_containers_that_keep_the_priming_of_aac_keep_sound_and_picture_together(container):
    file = make_media(
        container,
        frames=numbered_frames(range(75)),
        audio=clicks(CLICKS, SECONDS, 48000),
        video_options={"preset": "ultrafast"},
    )
    offset = decode_frames(file, start_seconds=0, end_seconds=0).times[0]
    assert 0.01 < offset < 0.03
    assert_clicks(file, [time + offset for time in CLICKS])


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 24000, 44100, 48000])
def test_encode_and_decode(rate):
    file = encode_clip(None, 1, clicks(CLICKS, SECONDS, rate, 2), rate)
    assert_clicks(file, CLICKS, channels=2, rates=(rate, 24000))


@pytest.mark.parametrize("container", ["mp4", "matroska"])
@pytest.mark.parametrize("delay", [0.5, 0.123])
def test_audio_that_starts_late_and_ends_early(container, delay):
    file = make_media(
        container,
        frames=numbered_frames(range(75)),
        audio=clicks([0.4, 1.1], 1.5, 48000, noise=50),
        audio_start_seconds=delay,
        video_options={"preset": "ultrafast"},
        # Without it the MP4's own header rounds the delay to milliseconds.
        mux_options={"movie_timescale": "48000"} if container == "mp4" else {},
    )
    assert_clicks(file, [0.4 + delay, 1.1 + delay], starts=(0.0, delay - 0.1, 1.03))
    samples = decode_audio(file, start_seconds=0, seconds=3, rate=24000, channels=1)[:, 0]
    # AAC's priming, 1024 samples, is audible in a track that starts late: it cannot be cut off.
    assert not samples[: round((delay - 0.025) * 24000)].any()
    assert samples[round((delay + 0.01) * 24000) : round((delay + 1.48) * 24000)].any()
    assert not samples[round((delay + 1.5 + 0.025) * 24000) :].any()
    beyond = decode_audio(file, start_seconds=2.5, seconds=0.3, rate=24000, channels=1)
    assert not beyond.any()


def test_negative_start_is_silence():
    file = make_media("wav", audio=clicks([0.2], 0.5, 48000), audio_codec="pcm_s16le")
    samples = decode_audio(file, start_seconds=-0.5, seconds=1, rate=24000, channels=1)[:, 0]
    assert not samples[: 12000 - 40].any()
    np.testing.assert_allclose(click_times(samples, 24000), [0.7], atol=MILLISECOND)


def test_a_gap_in_the_timestamps_stays_a_gap():
    samples = clicks([0.3, 1.1, 1.7], 2.0, 48000)
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as file:
        stream = file.add_stream("pcm_s16le", rate=48000, layout="mono")
        for start in range(0, 96000, 960):
            if 0.5 <= start / 48000 < 0.9:
                continue
            frame = av.AudioFrame.from_ndarray(
                samples[start : start + 960].T.copy(), "s16", layout="mono"
            )
            frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
            file.mux(stream.encode(frame))
    media = buffer.getvalue()
    assert_clicks(media, [0.3, 1.1, 1.7], starts=(0.0, 0.2, 0.7, 1.0))
    heard = decode_audio(media, start_seconds=0.51, seconds=0.38, rate=48000, channels=1)
    assert not heard.any()


@pytest.mark.parametrize("source_rate", [24000, 44100])
def test_windows_are_slices_of_the_whole(source_rate):
    """What the block cache of the data pipeline stands on."""
    rng = np.random.default_rng(0)
    sound = (rng.standard_normal((round(2.5 * source_rate), 1)) * 4000).astype(np.int16)
    file = encode_clip(None, 1, sound, source_rate)
    whole = decode_audio(file, start_seconds=0, seconds=2.5, rate=24000, channels=1)
    for start in (0.1, 0.5, 1.2345, 2.0):
        window = decode_audio(file, start_seconds=start, seconds=0.25, rate=24000, channels=1)
        first = round(start * 24000)
        difference = window.astype(int) - whole[first : first + len(window)]
        assert np.abs(difference).max() <= 1


def test_samples_at_their_own_rate_are_untouched():
    sound = clicks([0.1, 0.3], 0.5, 16000, 2, noise=3000)
    file = make_media("wav", audio=sound, audio_rate=16000, audio_codec="pcm_s16le")
    decoded = decode_audio(file, start_seconds=0.05, seconds=0.4, rate=16000, channels=2)
    np.testing.assert_array_equal(decoded, sound[800 : 800 + 6400])


def test_resampling_is_exact():
    time = np.arange(44100) / 44100
    sound = np.round(12000 * np.sin(2 * np.pi * 440 * time)).astype(np.int16)[:, None]
    file = make_media("wav", audio=sound, audio_rate=44100, audio_codec="pcm_s16le")
    decoded = decode_audio(file, start_seconds=0.25, seconds=0.5, rate=24000, channels=1)[:, 0]
    wanted = 12000 * np.sin(2 * np.pi * 440 * (0.25 + np.arange(12000) / 24000))
    np.testing.assert_allclose(decoded, wanted, atol=2)


def test_not_a_number_becomes_silence_and_is_counted():
    sound = (clicks([0.3], 0.6, 16000) / np.float32(32768)).astype(np.float32)
    sound[800:810] = np.nan
    sound[900] = np.inf
    file = make_media(
        "wav", audio=sound, audio_rate=16000, audio_codec="pcm_f32le", audio_format="flt"
    )
    clip = decode_clip(
        file, start_seconds=0, num_frames=0, fps=1, short_side=None,
        audio_seconds=0.6, audio_rate=16000, audio_channels=1,
    )  # fmt: skip
    assert clip.num_nonfinite_samples == 11
    assert not clip.audio[800:810].any()
    assert clip.audio[900] == 0
    np.testing.assert_allclose(click_times(clip.audio[:, 0], 16000), [0.3], atol=MILLISECOND)


def test_unknown_channel_count_is_refused():
    file = make_media("wav", audio=clicks([0.2], 0.5, 48000), audio_codec="pcm_s16le")
    with pytest.raises(UsageError, match="1, 2, 4 or 8 channels, not to 3"):
        decode_audio(file, start_seconds=0, seconds=0.1, rate=48000, channels=3)
