"""Frames that nobody asked for are not decoded, and those that somebody did come out unchanged."""

from types import SimpleNamespace

import numpy as np
import pytest

from avssl.media import video
from avssl.media.container import open_media
from avssl.media.decode import decode_frames, decode_video, select_frames
from avssl.media.limits import Limits
from avssl.media.skipping import with_use
from tests.media.make_media import make_media, numbered_frames


def uses(times, wanted):
    packets = [SimpleNamespace(pts=time) for time in times]
    return [used for _, used in with_use(packets, float, wanted, 5)]


def test_of_the_frames_up_to_a_wanted_time_only_the_last_is_of_use():
    assert uses([0, 1, 2, 3, 4], [2.5]) == [False, False, True, True, True]
    assert uses([0, 1, 2, 3, 4], [1.0, 3.9]) == [False, True, False, True, True]
    assert uses([0, 1], [7.0]) == [False, True]


def test_frames_are_compared_in_the_order_of_display():
    # I0 P4 B2 b1 b3: when 3.5 is asked for, b3 is shown, which was sent last.
    assert uses([0, 4, 2, 1, 3], [3.5]) == [False, True, False, False, True]
    assert uses([0, 4, 2, 1, 3], [4.0]) == [False, True, False, False, False]


def test_a_packet_without_a_time_is_of_use():
    assert uses([0, 1], [5.0])[0] is False
    packets = [SimpleNamespace(pts=0), SimpleNamespace(pts=None), SimpleNamespace(pts=1)]
    assert [used for _, used in with_use(packets, float, [5.0], 5)] == [False, True, True]


@pytest.mark.parametrize("num_frames", [3, 60])
def test_every_packet_comes_once_and_in_order(num_frames):
    times = np.random.default_rng(0).permutation(num_frames).tolist()
    packets = [SimpleNamespace(pts=time) for time in times]
    assert [p.pts for p, _ in with_use(packets, float, [9.5], 5)] == times


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_a_late_window_of_a_long_gop_is_decoded_with_fewer_frames(codec, monkeypatch):
    file = make_media(
        frames=numbered_frames(range(100)), fps=25, gop=100, b_frames=3, video_codec=codec,
        video_options={"preset": "ultrafast", "x265-params": "log-level=none"},
    )  # fmt: skip
    full = decode_frames(file, start_seconds=0, end_seconds=99)
    decoded = []
    frames_of = video._frames_from

    def counted(*args):
        for time, frame in frames_of(*args):
            decoded.append(time)
            yield time, frame

    monkeypatch.setattr(video, "_frames_from", counted)
    # Whatever the pattern of B-frames, one of these starts at each of its phases.
    for start in (3.0, 3.04, 3.08, 3.12):
        decoded.clear()
        wanted = start + np.arange(4) / 6
        window = decode_video(file, start_seconds=start, num_frames=4, fps=6)
        expected = full.pixels[select_frames(full.times, wanted)]
        np.testing.assert_array_equal(window, expected)
        assert len(decoded) < 70
    with open_media(file, Limits()) as opened:
        assert len(list(video.shown_frames(opened, 0.0))) == 100
