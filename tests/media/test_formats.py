"""JPEG frames and raw pixels are read as any other file: same frames, same times, same refusals."""

from fractions import Fraction

import numpy as np
import pytest

from avssl.media import video
from avssl.media.container import open_media
from avssl.media.decode import decode_audio, decode_frames, decode_video
from avssl.media.encode import encode_clip
from avssl.media.errors import MediaError
from avssl.media.limits import Limits
from avssl.media.probe import probe
from avssl.media.transcode import check_whole, transcode
from tests.media.make_media import (
    click_times,
    flipped,
    frame_numbers,
    make_clip,
    make_media,
    numbered_frames,
    with_duration,
    with_frame_size,
)

FORMATS = ("jpeg", "raw")
NUM_FRAMES, FPS = 75, 25


@pytest.fixture(scope="module")
def source() -> bytes:
    return make_clip(NUM_FRAMES, fps=FPS, gop=30)


@pytest.fixture(scope="module")
def copies(source) -> dict[str, bytes]:
    return {name: transcode(source, short_side=36, video_format=name) for name in FORMATS}


def test_they_say_what_they_are(copies):
    codecs = {name: (probe(copies[name]).video_codec, probe(copies[name]).audio_codec)
              for name in FORMATS}  # fmt: skip
    assert codecs == {"jpeg": ("mjpeg", "aac"), "raw": ("rawvideo", "pcm_s16le")}
    for media in copies.values():
        found = probe(media)
        assert (found.width, found.height, found.fps) == (48, 36, FPS)
        assert found.duration_seconds == pytest.approx(NUM_FRAMES / FPS, abs=0.02)
        assert (found.audio_rate, found.audio_channels) == (24000, 2)
        check_whole(media)


@pytest.mark.parametrize("video_format", FORMATS)
def test_frames_are_those_of_the_source(source, copies, video_format):
    scaled = decode_frames(source, start_seconds=0, end_seconds=9, short_side=36)
    found = decode_frames(copies[video_format], start_seconds=0, end_seconds=9)
    np.testing.assert_allclose(found.times, scaled.times, atol=1e-4)
    if video_format == "raw":
        np.testing.assert_array_equal(found.pixels, scaled.pixels)
    else:
        # Hard edges of red and blue, at half the resolution of colour.
        assert np.abs(found.pixels.astype(int) - scaled.pixels).mean() < 4
        assert frame_numbers(found.pixels) == list(range(NUM_FRAMES))


def test_raw_sound_is_that_of_the_source(source, copies):
    heard = [
        decode_audio(media, start_seconds=0, seconds=2.9, rate=24000, channels=2)
        for media in (source, copies["raw"], copies["jpeg"])
    ]
    np.testing.assert_array_equal(heard[1], heard[0])
    expected = click_times(heard[0][:, 0], 24000)
    np.testing.assert_allclose(click_times(heard[2][:, 0], 24000), expected, atol=1e-3)
    window = decode_audio(copies["raw"], start_seconds=1.234, seconds=0.5, rate=24000, channels=2)
    first = round(1.234 * 24000)
    np.testing.assert_array_equal(window, heard[0][first : first + 12000])


@pytest.mark.parametrize("video_format", FORMATS)
def test_windows_anywhere_show_the_right_frames(source, copies, video_format):
    rng = np.random.default_rng(0)
    for start, fps in zip(
        rng.uniform(0, 2, 12), rng.choice([4.0, 8.0, 16.0, 60.0], 12), strict=True
    ):
        windows = [
            decode_video(media, start_seconds=start, num_frames=5, fps=fps)
            for media in (source, copies[video_format])
        ]
        assert frame_numbers(windows[1]) == frame_numbers(windows[0])


@pytest.mark.parametrize("video_format", FORMATS)
def test_only_frames_that_are_shown_are_decoded(copies, video_format, monkeypatch):
    decoded, frames_of = [], video._frames_from

    def counted(*arguments):
        for time, frame in frames_of(*arguments):
            decoded.append(time)
            yield time, frame

    monkeypatch.setattr(video, "_frames_from", counted)
    decode_video(copies[video_format], start_seconds=2.0, num_frames=4, fps=5)
    # The last one says that the one before it is over.
    np.testing.assert_allclose(decoded, [2.0, 2.2, 2.4, 2.6, 2.64], atol=1e-3)


@pytest.mark.parametrize("video_format", ["h264", *FORMATS])
def test_a_fixed_rate_shows_what_was_on_display(source, video_format):
    slow = transcode(source, short_side=36, video_format=video_format, fps=Fraction(10))
    found = decode_frames(slow, start_seconds=0, end_seconds=9)
    np.testing.assert_allclose(found.times, np.arange(30) / 10, atol=1e-4)
    assert frame_numbers(found.pixels) == [int(2.5 * number) for number in range(30)]
    assert probe(slow).fps == 10
    part = transcode(source, start_seconds=0.5, end_seconds=1.1, short_side=36,
                     video_format=video_format, fps=Fraction(10))  # fmt: skip
    pixels = decode_frames(part, start_seconds=0, end_seconds=9).pixels
    assert frame_numbers(pixels) == [12, 15, 17, 20, 22, 25]


def test_a_fixed_rate_of_a_still_and_of_a_late_track():
    still = make_media(frames=numbered_frames([7]))
    at_rate = transcode(still, short_side=36, video_format="raw", fps=Fraction(25))
    assert frame_numbers(decode_frames(at_rate, start_seconds=0, end_seconds=9).pixels) == [7]
    late = make_clip(20, video_start_seconds=0.5)
    at_rate = transcode(late, short_side=36, video_format="raw", fps=Fraction(5))
    found = decode_frames(at_rate, start_seconds=0, end_seconds=9)
    assert frame_numbers(found.pixels) == [0, 0, 0, 2, 7, 12, 17]


@pytest.mark.parametrize("video_format", FORMATS)
def test_further_tracks_keep_their_names(video_format):
    rgb, depth = numbered_frames(range(16)), numbered_frames(range(64, 80))
    media = transcode(encode_clip(rgb, 16, None, 24000, streams={"depth": depth}),
                      short_side=36, video_format=video_format)  # fmt: skip
    assert probe(media).video_streams == ("depth",)
    shown = decode_video(media, start_seconds=0.5, num_frames=3, fps=8, stream="depth")
    assert frame_numbers(shown) == [72, 74, 76]
    assert frame_numbers(decode_video(media, start_seconds=0.5, num_frames=1, fps=8)) == [8]


@pytest.mark.parametrize("video_format", FORMATS)
def test_same_bytes_on_every_call(source, copies, video_format):
    assert transcode(source, short_side=36, video_format=video_format) == copies[video_format]


@pytest.mark.parametrize("video_format", FORMATS)
def test_what_is_broken_is_refused(copies, video_format):
    good = copies[video_format]
    tag = {"jpeg": b"jpeg", "raw": b"raw "}[video_format]
    with pytest.raises(MediaError):
        probe(good[: len(good) // 2])
    with pytest.raises(MediaError, match="lasts 36000 s, more than the limit"):
        probe(with_duration(good, 36_000))
    with pytest.raises(MediaError, match="frames of 33177600 pixels, more than the limit"):
        probe(with_frame_size(good, 4320, 7680, codec=tag))


def test_raw_frames_that_are_smaller_than_their_header_says_are_refused(copies):
    with pytest.raises(MediaError, match="frames of an impossible size"):
        probe(with_frame_size(copies["raw"], 1000, 1000, codec=b"raw "))


@pytest.mark.parametrize("video_format", FORMATS)
def test_random_damage_ends_in_an_array_or_a_reason(copies, video_format):
    """A short fuzz; a crash or a hang would take the test run with it."""
    outcomes = set()
    for seed in range(12):
        try:
            transcode(
                flipped(copies[video_format], 0.003, seed), limits=Limits(max_decode_seconds=5.0)
            )
            outcomes.add("kept")
        except MediaError:
            outcomes.add("refused")
    assert "refused" in outcomes


def test_a_jpeg_that_is_larger_than_its_header_says_is_refused(copies):
    lying = with_frame_size(copies["jpeg"], 16, 16, codec=b"jpeg")
    limits = Limits(max_pixels=1000)
    with (
        pytest.raises(MediaError, match="more pixels than the limit of 1000"),
        open_media(lying, limits) as opened,
    ):
        next(video.shown_frames(opened, 0.0))
