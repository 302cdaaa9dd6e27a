"""Frames come from the time that was asked for, in every container, from any point of a GOP."""

import itertools
import os
import sys
import time

import numpy as np
import pytest

from avssl.media.container import open_media
from avssl.media.decode import (
    decode_audio,
    decode_clip,
    decode_frames,
    decode_video,
    select_frames,
)
from avssl.media.errors import MediaError
from avssl.media.limits import Limits
from avssl.media.sound import sample_blocks
from avssl.media.video import Scaler, shown_frames
from tests.media.make_media import (
    boxes,
    clicks,
    frame_numbers,
    make_clip,
    make_media,
    numbered_frames,
)

FPS, NUM_FRAMES = 25, 60
X264 = {"preset": "ultrafast"}
# container, codec, B-frames, encoder options
FILES = {
    "mp4": ("mp4", "libx264", 2, {"preset": "veryfast"}),
    "open_gop": ("mp4", "libx264", 2, {"preset": "veryfast", "x264-params": "open-gop=1"}),
    "matroska": ("matroska", "libx264", 3, {"preset": "veryfast"}),
    "webm": ("webm", "libvpx-vp9", 0, {"deadline": "realtime", "cpu-used": "8"}),
    "mpegts": ("mpegts", "libx264", 2, {"preset": "veryfast"}),
    "mpeg": ("mpeg", "mpeg2video", 2, {}),
    "flv": ("flv", "libx264", 2, {"preset": "veryfast"}),
    "avi_h264": ("avi", "libx264", 3, {"preset": "veryfast"}),
    "avi_mpeg4": ("avi", "mpeg4", 2, {}),
}


@pytest.fixture(scope="module", params=FILES)
def file(request) -> bytes:
    container, codec, b_frames, options = FILES[request.param]
    return make_media(
        container,
        frames=numbered_frames(range(NUM_FRAMES)),
        fps=FPS,
        video_codec=codec,
        b_frames=b_frames,
        video_options=options,
    )


def test_windows_hold_the_frames_that_a_full_decode_shows_then(file):
    full = decode_frames(file, start_seconds=0, end_seconds=99)
    assert frame_numbers(full.pixels) == list(range(NUM_FRAMES))
    np.testing.assert_allclose(full.times - full.times[0], np.arange(NUM_FRAMES) / FPS, atol=1e-3)
    for start in np.arange(0.0, 2.6, 0.17):
        window = decode_frames(file, start_seconds=start, end_seconds=start + 0.25)
        first = int(select_frames(full.times, [start])[0])
        last = max(first + 1, int(np.searchsorted(full.times, start + 0.25 - 1e-3)))
        np.testing.assert_allclose(window.times, full.times[first:last], atol=1e-9)
        np.testing.assert_array_equal(window.pixels, full.pixels[first:last])


def test_decode_video_is_decode_frames_and_select_frames(file):
    start, fps, count = 0.63, 7.0, 6
    frames = decode_frames(
        file, start_seconds=start, end_seconds=start + count / fps, short_side=36
    )
    wanted = start + np.arange(count) / fps
    expected = frames.pixels[select_frames(frames.times, wanted)]
    video = decode_video(file, start_seconds=start, num_frames=count, fps=fps, short_side=36)
    np.testing.assert_array_equal(video, expected)
    offset = decode_frames(file, start_seconds=0, end_seconds=0).times[0]
    middles = offset + (np.array(frame_numbers(video)) + 0.5) / FPS
    np.testing.assert_allclose(middles, wanted, atol=0.5 / FPS + 1e-3)


@pytest.mark.parametrize("container", ["mp4", "matroska", "mpegts"])
def test_variable_frame_rate(container):
    times = np.cumsum(np.random.default_rng(0).uniform(0.01, 0.2, 40)) - 0.01
    times -= times[0]
    file = make_media(
        container, frames=numbered_frames(range(40)), frame_times=times, gop=7, video_options=X264
    )
    full = decode_frames(file, start_seconds=0, end_seconds=99)
    assert frame_numbers(full.pixels) == list(range(40))
    np.testing.assert_allclose(full.times, times, atol=6e-4)
    # Away from the changes: this file rounds them.
    wanted = np.array([t for t in np.linspace(0, 4, 60) if np.abs(times - t).min() > 2e-3])
    shown = [decode_video(file, start_seconds=t, num_frames=1, fps=10)[0] for t in wanted[::3]]
    expected = np.searchsorted(times, wanted[::3], side="right") - 1
    assert frame_numbers(np.stack(shown)) == expected.tolist()


def test_before_the_first_frame_and_after_the_last():
    file = make_media(
        frames=numbered_frames(range(10)), video_start_seconds=0.5, audio=clicks([0.2], 2, 48000)
    )
    early = decode_frames(file, start_seconds=0.1, end_seconds=0.2)
    assert frame_numbers(early.pixels) == [0]
    np.testing.assert_allclose(early.times, [0.5], atol=1e-3)
    across = decode_video(file, start_seconds=0.3, num_frames=5, fps=10)
    assert frame_numbers(across) == [0, 0, 0, 2, 5]
    late = decode_frames(file, start_seconds=5.0, end_seconds=6.0)
    assert frame_numbers(late.pixels) == [9]
    assert frame_numbers(decode_video(file, start_seconds=0.84, num_frames=3, fps=1)) == [8, 9, 9]


def test_a_window_may_have_no_length():
    file = make_clip(20)
    frames = decode_frames(file, start_seconds=0.3, end_seconds=0.3)
    assert frame_numbers(frames.pixels) == [7]


def test_edit_list_that_starts_inside_a_gop():
    file = make_media(frames=numbered_frames(range(50)), gop=20, b_frames=0, video_options=X264)
    edited = bytearray(file)
    entry = file.find(b"elst") + 12
    scale = int.from_bytes(file[file.find(b"mdhd") + 16 :][:4], "big")
    edited[entry + 4 : entry + 8] = round(13 / FPS * scale).to_bytes(4, "big")
    edited[entry : entry + 4] = (1000).to_bytes(4, "big")
    frames = decode_frames(bytes(edited), start_seconds=0.4, end_seconds=0.6)
    assert frame_numbers(frames.pixels) == [23, 24, 25, 26, 27]
    np.testing.assert_allclose(frames.times, np.arange(10, 15) / FPS, atol=1e-6)


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_rotation_metadata(rotation):
    upright = numbered_frames(range(4), height=48, width=64)
    stored = np.rot90(upright, k=rotation // 90, axes=(1, 2))
    file = make_media(frames=stored, rotation=rotation, video_options=X264)
    frames = decode_frames(file, start_seconds=0, end_seconds=1, short_side=36)
    assert frames.pixels.shape[1:] == (36, 48, 3)
    assert frame_numbers(frames.pixels) == [0, 1, 2, 3]
    red, blue = frames.pixels[0, 3, 4], frames.pixels[0, 3, -5]
    assert red[0] > 180 > 90 > red[2]
    assert blue[2] > 180 > 90 > blue[0]


def test_colours_survive():
    colours = [(200, 40, 40), (40, 200, 40), (40, 40, 200), (128, 128, 128), (250, 250, 250)]
    frames = np.stack([np.full((32, 48, 3), colour, np.uint8) for colour in colours])
    decoded = decode_frames(make_media(frames=frames), start_seconds=0, end_seconds=9)
    np.testing.assert_allclose(decoded.pixels.astype(int), frames.astype(int), atol=6)


def test_clip_gives_what_the_single_calls_give(tmp_path):
    file = make_clip(50)
    path = tmp_path / "clip.mp4"
    path.write_bytes(file)
    for media in (file, str(path)):
        clip = decode_clip(
            media, start_seconds=0.7, num_frames=4, fps=8, short_side=32,
            audio_seconds=0.5, audio_rate=16000, audio_channels=2,
        )  # fmt: skip
        video = decode_video(file, start_seconds=0.7, num_frames=4, fps=8, short_side=32)
        audio = decode_audio(file, start_seconds=0.7, seconds=0.5, rate=16000, channels=2)
        np.testing.assert_array_equal(clip.video, video)
        np.testing.assert_array_equal(clip.audio, audio)


def test_missing_tracks():
    silent = make_media(frames=numbered_frames(range(5)), video_options=X264)
    sound = make_media("wav", audio=clicks([0.2], 0.5, 48000), audio_codec="pcm_s16le")
    window = {
        "start_seconds": 0, "num_frames": 2, "fps": 8, "short_side": 32,
        "audio_seconds": 0.2, "audio_rate": 16000, "audio_channels": 1,
    }  # fmt: skip
    assert decode_clip(silent, **window).audio is None
    assert decode_clip(sound, **window).video is None
    with pytest.raises(MediaError, match="no audio track"):
        decode_audio(silent, start_seconds=0, seconds=1, rate=16000, channels=1)
    with pytest.raises(MediaError, match="no video track"):
        decode_frames(sound, start_seconds=0, end_seconds=1)


def test_only_the_window_is_decoded():
    """Garbage behind the window, and before its keyframe, is never looked at."""
    file = make_clip(75, gop=12, b_frames=0, audio=None)
    data = next(box for kind, box in boxes(file) if kind == b"mdat")
    start = file.find(data)
    damaged = bytearray(file)
    damaged[start + 16 : start + len(data) // 6] = bytes(len(data) // 6 - 16)
    damaged[start + len(data) * 5 // 6 : start + len(data)] = bytes(len(data) - len(data) * 5 // 6)
    window = {"start_seconds": 1.3, "num_frames": 4, "fps": 10}
    np.testing.assert_array_equal(
        decode_video(bytes(damaged), **window), decode_video(file, **window)
    )
    with pytest.raises(MediaError, match="damaged"):
        decode_frames(bytes(damaged), start_seconds=0, end_seconds=3)


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")
def test_decoding_and_resampling_start_no_threads():
    def num_threads() -> int:
        return len(os.listdir("/proc/self/task"))

    file = make_clip(20)
    before = num_threads()
    with open_media(file, Limits()) as opened:
        _, _, frame = next(shown_frames(opened, 0.3))
        assert Scaler(opened, 32)(frame).shape == (32, 43, 3)
        assert num_threads() == before
    with open_media(file, Limits()) as opened:
        assert len(next(sample_blocks(opened, 0, 8000, 16000, 1)))
        assert num_threads() == before


def test_a_paused_machine_does_not_make_a_file_unreadable(monkeypatch):
    clip = make_clip(20)
    expected = decode_frames(clip, start_seconds=0, end_seconds=1)
    hours = itertools.count(0.0, 3600.0)
    monkeypatch.setattr(time, "monotonic", lambda: next(hours))
    found = decode_frames(clip, start_seconds=0, end_seconds=1)
    np.testing.assert_array_equal(found.pixels, expected.pixels)


def test_time_limit_holds_inside_the_loop():
    with pytest.raises(MediaError, match="took more than 0 s"):
        decode_video(
            make_clip(20), start_seconds=0, num_frames=2, fps=8,
            limits=Limits(max_decode_seconds=0.0),
        )  # fmt: skip
