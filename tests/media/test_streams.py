"""Several video tracks in one file: each is found by its name, and the default one as ever."""

import io

import av
import numpy as np
import pytest

from avssl.errors import UsageError
from avssl.media.decode import decode_audio, decode_frames, decode_video
from avssl.media.encode import encode_clip
from avssl.media.errors import MissingTrackError
from avssl.media.probe import probe
from avssl.media.transcode import check_whole, transcode
from tests.media.make_media import clicks, frame_numbers, numbered_frames

SOUND = clicks([0.3, 0.9], 2.0, 24000, 2)
RGB, DEPTH, THERMAL = (numbered_frames(range(first, first + 32)) for first in (0, 64, 128))


@pytest.fixture(scope="module")
def media() -> bytes:
    return encode_clip(RGB, 16, SOUND, 24000, streams={"depth": DEPTH, "thermal": THERMAL})


def numbers(media: bytes, stream: str = "", start: float = 0.0) -> list[int]:
    found = decode_frames(media, start_seconds=start, end_seconds=9, stream=stream)
    return frame_numbers(found.pixels)


def test_each_track_is_found_by_its_name(media):
    assert numbers(media) == list(range(32))
    assert numbers(media, "depth") == list(range(64, 96))
    assert numbers(media, "thermal") == list(range(128, 160))
    assert numbers(media, "thermal", start=1.5) == list(range(152, 160))
    window = decode_video(media, start_seconds=1, num_frames=3, fps=8, stream="depth")
    assert frame_numbers(window) == [80, 82, 84]
    assert probe(media).video_streams == ("depth", "thermal")
    assert probe(media).duration_seconds == 2.0
    check_whole(media)


def test_the_default_track_and_the_sound_are_as_without_others(media):
    alone = encode_clip(RGB, 16, SOUND, 24000)
    pixels = [decode_frames(m, start_seconds=0, end_seconds=9).pixels for m in (media, alone)]
    np.testing.assert_array_equal(*pixels)
    sounds = [
        decode_audio(m, start_seconds=0, seconds=2, rate=24000, channels=2) for m in (media, alone)
    ]
    np.testing.assert_array_equal(*sounds)
    assert probe(alone).video_streams == ()


def test_a_track_that_is_not_there_is_missing(media):
    with pytest.raises(MissingTrackError, match="no video stream 'radar'"):
        numbers(media, "radar")


def test_tracks_of_one_clip_have_as_many_frames():
    with pytest.raises(UsageError, match=r"have \[32, 5\] frames"):
        encode_clip(RGB, 16, None, 0, streams={"depth": DEPTH[:5]})


def test_transcoding_keeps_all_named_tracks(media):
    small = transcode(media, start_seconds=0.5, short_side=24)
    assert probe(small).video_streams == ("depth", "thermal")
    for stream, first in (("", 8), ("depth", 72), ("thermal", 136)):
        found = decode_frames(small, start_seconds=0, end_seconds=9, stream=stream)
        assert found.pixels.shape[1] == 24
        assert len(found.times) == 24
        assert frame_numbers(found.pixels) == list(range(first, first + 24))


def test_a_further_track_that_cannot_be_decoded_is_not_there(media):
    damaged = bytearray(media)
    with av.open(io.BytesIO(media)) as file:
        (depth,) = [s for s in file.streams.video if s.metadata["handler_name"] == "depth"]
        for packet in file.demux(depth):
            if packet.size:
                damaged[packet.pos : packet.pos + packet.size] = bytes(packet.size)
    assert probe(bytes(damaged)).video_streams == ("thermal",)
    check_whole(bytes(damaged))
    small = transcode(bytes(damaged), short_side=24)
    assert probe(small).video_streams == ("thermal",)
    assert numbers(small) == list(range(32))
    assert numbers(small, "thermal") == list(range(128, 160))


def test_a_file_of_very_many_tracks():
    streams = {f"eye{number:02d}": RGB[:2] for number in range(12)}
    many = encode_clip(RGB[:2], 16, None, 0, streams=streams)
    first = tuple(streams)[:8]
    assert probe(many).video_streams == first
    assert probe(transcode(many)).video_streams == first
