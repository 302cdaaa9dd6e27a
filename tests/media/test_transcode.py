"""Transcoding keeps frames, times, sound and the distance between them."""

import io

import av
import numpy as np
import pytest

from avssl.media.decode import decode_audio, decode_frames
from avssl.media.errors import MediaError
from avssl.media.probe import probe
from avssl.media.transcode import _without_tail, transcode
from tests.media.make_media import (
    click_times,
    clicks,
    frame_numbers,
    make_clip,
    make_media,
    numbered_frames,
)

FAST = {"preset": "ultrafast"}


def heard(media: bytes, channels: int = 1) -> list[float]:
    samples = decode_audio(media, start_seconds=0, seconds=3.5, rate=24000, channels=channels)
    return click_times(samples[:, 0], 24000)


@pytest.mark.parametrize("container", ["mp4", "matroska", "mpegts"])
def test_whole_file(container):
    source = make_clip(60, container=container, audio=clicks([0.3, 1.4, 2.1], 2.4, 44100, 2),
                       audio_rate=44100)  # fmt: skip
    before = decode_frames(source, start_seconds=0, end_seconds=9)
    small = transcode(source, short_side=36, gop=8)
    after = decode_frames(small, start_seconds=0, end_seconds=9)
    assert frame_numbers(after.pixels) == list(range(60))
    assert after.pixels.shape[1:] == (36, 48, 3)
    # The first frame is on display from the start on; the others keep their time.
    np.testing.assert_allclose(after.times[1:], before.times[1:], atol=1e-4)
    np.testing.assert_allclose(heard(small), heard(source), atol=1e-3)
    described = probe(small)
    assert (described.audio_rate, described.audio_channels) == (24000, 2)
    assert (described.video_codec, described.audio_codec) == ("h264", "aac")
    assert described.fps == pytest.approx(25, abs=0.3)
    assert described.duration_seconds == pytest.approx(2.4, abs=0.06)
    with av.open(io.BytesIO(small)) as file:
        keys = [p.is_keyframe for p in file.demux(video=0) if p.size]
    assert np.flatnonzero(keys).tolist() == list(range(0, 60, 8))


@pytest.mark.parametrize(("rate", "channels"), [(48000, 2), (44100, 1), (16000, 1), (24000, 4)])
def test_the_copy_is_as_long_as_its_source(rate, channels):
    """The last frame of AAC is full, whatever the source had to fill it with."""
    sound = clicks([0.3], 1.013, rate, channels)
    source = make_media(audio=sound, audio_rate=rate)
    assert probe(source).duration_seconds == pytest.approx(1.013, abs=1e-3)
    assert probe(transcode(source)).duration_seconds == pytest.approx(1.013, abs=1e-3)


def test_sound_goes_on_where_the_header_ends_too_early():
    for num_samples, num_kept in ((90, 90), (100, 100), (120, 100), (126, 126), (200, 200)):
        samples = np.arange(num_samples)[:, None]
        blocks = iter(np.split(samples, range(7, num_samples, 7)))
        # A quarter of a second more is the fill of a frame.
        kept = np.concatenate(list(_without_tail(blocks, 100, rate=100)))
        np.testing.assert_array_equal(kept, samples[:num_kept])


def test_window_in_the_middle_of_a_gop():
    source = make_clip(75, gop=50, audio=clicks([0.5, 1.2, 1.9, 2.6], 3.0, 48000))
    small = transcode(source, start_seconds=0.97, end_seconds=2.33, short_side=32)
    after = decode_frames(small, start_seconds=0, end_seconds=9)
    # Frame 24 (0.96 s) is on display at 0.97 s.
    assert frame_numbers(after.pixels) == list(range(24, 59))
    np.testing.assert_allclose(after.times[1:], np.arange(25, 59) / 25 - 0.97, atol=1e-4)
    np.testing.assert_allclose(heard(small), [1.2 - 0.97, 1.9 - 0.97], atol=1e-3)
    assert probe(small).duration_seconds == pytest.approx(1.36, abs=0.06)


def test_variable_frame_rate_stays():
    times = np.cumsum(np.random.default_rng(0).uniform(0.02, 0.2, 20))
    times -= times[0]
    source = make_media(
        frames=numbered_frames(range(20)), frame_times=times, gop=9, video_options=FAST
    )
    after = decode_frames(transcode(source, short_side=32), start_seconds=0, end_seconds=9)
    np.testing.assert_allclose(after.times, times, atol=1e-4)
    assert frame_numbers(after.pixels) == list(range(20))


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_channels_stay(channels):
    times = [[0.2 + 0.2 * c] for c in range(channels)]
    source = make_media(audio=clicks(times, 1.2, 48000, channels))
    small = transcode(source)
    assert probe(small).audio_channels == channels
    samples = decode_audio(small, start_seconds=0, seconds=1, rate=24000, channels=channels)
    for channel, expected in enumerate(times):
        found = click_times(samples[:, channel], 24000, threshold=0.1)
        np.testing.assert_allclose(found, expected, atol=1e-3)


def test_surround_becomes_stereo():
    sound = clicks([[0.1], [0.2], [0.3], [0.4], [0.5], [0.6], [0.7], [0.8]], 1.0, 48000, 8)
    assert probe(transcode(make_media(audio=sound, audio_layout="7.1"))).audio_channels == 2


def test_one_track_alone():
    silent = transcode(make_media(frames=numbered_frames(range(9)), video_options=FAST))
    assert (probe(silent).has_video, probe(silent).has_audio) == (True, False)
    sound = transcode(make_media("wav", audio=clicks([0.3], 1, 16000), audio_rate=16000,
                                 audio_codec="pcm_s16le"))  # fmt: skip
    assert (probe(sound).has_video, probe(sound).has_audio) == (False, True)
    np.testing.assert_allclose(heard(sound), [0.3], atol=1e-3)


def test_tracks_that_start_late():
    late_sound = make_media(
        frames=numbered_frames(range(50)), audio=clicks([0.4], 1.0, 48000),
        audio_start_seconds=0.6, video_options=FAST, mux_options={"movie_timescale": "48000"},
    )  # fmt: skip
    np.testing.assert_allclose(heard(transcode(late_sound)), [1.0], atol=1e-3)
    late_video = make_media(
        frames=numbered_frames(range(40)), video_start_seconds=0.3,
        audio=clicks([0.4], 1.9, 48000), video_options=FAST,
    )  # fmt: skip
    small = transcode(late_video)
    np.testing.assert_allclose(heard(small), [0.4], atol=1e-3)
    after = decode_frames(small, start_seconds=0, end_seconds=9)
    np.testing.assert_allclose(after.times[1:], 0.3 + np.arange(1, 40) / 25, atol=1e-3)


def test_rotation_is_applied():
    upright = numbered_frames(range(3), height=48, width=64)
    source = make_media(frames=np.rot90(upright, axes=(1, 2)), rotation=90, video_options=FAST)
    described = probe(transcode(source, short_side=24))
    assert (described.width, described.height, described.rotation) == (32, 24, 0)


def test_frames_of_odd_size_are_made_even():
    source = make_media(frames=numbered_frames(range(3), height=48, width=62), video_options=FAST)
    described = probe(transcode(source, short_side=30))
    assert (described.width, described.height) == (38, 30)


def test_same_bytes_on_every_call():
    source = make_clip(20)
    assert transcode(source, short_side=32) == transcode(source, short_side=32)


def test_a_window_after_the_end_of_the_sound_has_no_sound():
    source = make_media(
        frames=numbered_frames(range(50)), audio=clicks([0.2], 0.5, 48000), video_options=FAST
    )
    small = transcode(source, start_seconds=1.0, end_seconds=1.5, short_side=32)
    assert not probe(small).has_audio
    only_sound = make_media("wav", audio=clicks([0.2], 0.5, 48000), audio_codec="pcm_s16le")
    with pytest.raises(MediaError, match="neither frames nor sound"):
        transcode(only_sound, start_seconds=5)
