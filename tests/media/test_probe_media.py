"""What a file is said to be."""

from fractions import Fraction

import numpy as np
import pytest

from avssl.media.probe import probe
from tests.media.make_media import clicks, make_clip, make_media, numbered_frames


def test_ordinary_file():
    described = probe(make_clip(50))
    assert described.has_video
    assert described.has_audio
    assert described.duration_seconds == pytest.approx(2.0, abs=0.03)
    assert (described.width, described.height, described.fps) == (64, 48, 25)
    assert (described.audio_rate, described.audio_channels) == (48000, 2)
    assert (described.video_codec, described.audio_codec) == ("h264", "aac")
    assert (described.container, described.rotation) == ("mov", 0)


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_size_is_that_of_upright_frames(rotation):
    frames = np.rot90(numbered_frames(range(3)), k=rotation // 90, axes=(1, 2))
    described = probe(make_media(frames=frames, rotation=rotation))
    assert (described.width, described.height, described.rotation) == (64, 48, rotation)


@pytest.mark.parametrize(
    ("aspect", "size"),
    [(Fraction(2), (128, 48)), (Fraction(1, 2), (64, 96)), (Fraction(1000), (64, 48))],
)
def test_pixels_are_made_square_unless_that_is_absurd(aspect, size):
    described = probe(make_media(frames=numbered_frames(range(3)), sample_aspect=aspect))
    assert (described.width, described.height) == size


def test_duration_without_a_header_is_counted():
    sound = clicks([0.5], 2.0, 44100)
    # No Xing header: FFmpeg alone would guess from the first packet's bit rate.
    file = make_media(
        "mp3", audio=sound, audio_rate=44100, audio_codec="libmp3lame",
        mux_options={"write_xing": "0"},
    )  # fmt: skip
    assert probe(file).duration_seconds == pytest.approx(2.05, abs=0.05)
    # As a browser's recorder writes it, to a pipe.
    live = make_media(
        "webm", frames=numbered_frames(range(20)), video_codec="libvpx-vp9", b_frames=0,
        video_options={"deadline": "realtime", "cpu-used": "8"}, mux_options={"live": "1"},
    )  # fmt: skip
    assert probe(live).duration_seconds == pytest.approx(0.8, abs=0.05)


def test_rate_that_no_header_states_is_counted():
    times = np.cumsum(np.random.default_rng(0).uniform(0.02, 0.2, 30))
    file = make_media("mpegts", frames=numbered_frames(range(30)), frame_times=times)
    assert probe(file).fps == pytest.approx(30 / (times[-1] - times[0]), rel=0.1)
