"""Pictures and sound of two files as one."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from avssl.media.decode import decode_audio, decode_frames, decode_video
from avssl.media.errors import MediaError
from avssl.media.limits import Limits
from avssl.media.pairing import paired
from avssl.media.probe import probe
from avssl.media.transcode import transcode
from tests.media.make_media import clicks, frame_numbers, make_media, numbered_frames

RATE = 16000


def still(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(numbered_frames([6])[0]).save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def wav() -> bytes:
    audio = clicks([0.25, 1.25], 1.5, RATE)
    return make_media("wav", audio=audio, audio_rate=RATE, audio_codec="pcm_s16le")


def png(width: int, height: int, text: bytes = b"") -> bytes:
    """A black one, however large; only a small one has all of its pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        sum_of = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", sum_of)

    rows = bytes((3 * width + 1) * min(height, 4))
    chunks = [chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))]
    if text:
        chunks.append(chunk(b"zTXt", b"note\0\0" + zlib.compress(text)))
    chunks += [chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def heard(media: bytes, channels: int = 1, rate: int = RATE) -> np.ndarray:
    return decode_audio(media, start_seconds=0.1, seconds=1.3, rate=rate, channels=channels)


def seen(media: bytes) -> np.ndarray:
    return decode_video(media, start_seconds=0.4, num_frames=3, fps=10, short_side=48)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_still_stays_on_display_for_the_length_of_the_sound(kind, wav, tmp_path):
    media = paired(still(kind), wav)
    facts = probe(media)
    assert (facts.width, facts.height, facts.audio_rate) == (64, 48, RATE)
    assert facts.duration_seconds == pytest.approx(1.5, abs=1e-3)
    assert frame_numbers(seen(media)) == [6, 6, 6]
    if kind == "PNG":
        np.testing.assert_array_equal(seen(media)[2], numbered_frames([6])[0])
    np.testing.assert_array_equal(heard(media), heard(wav))
    (tmp_path / "a").write_bytes(still(kind))
    (tmp_path / "b").write_bytes(wav)
    assert paired(str(tmp_path / "a"), str(tmp_path / "b")) == media
    # What `data build` makes of it.
    assert probe(transcode(media, short_side=16)).duration_seconds == pytest.approx(1.5, abs=0.1)


@pytest.mark.parametrize("kind", ["mp4", "matroska"])
def test_frames_and_samples_of_two_videos_keep_their_values_and_times(kind):
    # With B-frames, of which Matroska does not say when the first ones are decoded.
    pictures = make_media(kind, frames=numbered_frames(range(40)), fps=25)
    sound = make_media("mp4", audio=clicks([0.25, 1.25], 1.5, 48000, 4))
    media = paired(pictures, sound)
    np.testing.assert_array_equal(seen(media), seen(pictures))
    assert frame_numbers(seen(media)) == [10, 12, 15]
    whole = decode_frames(media, start_seconds=0, end_seconds=9)
    assert frame_numbers(whole.pixels) == list(range(40))
    np.testing.assert_allclose(whole.times, np.arange(40) / 25, atol=1e-3)
    np.testing.assert_array_equal(heard(media, 4, 48000), heard(sound, 4, 48000))


def test_what_cannot_be_paired(wav, tmp_path):
    silent = make_media(frames=numbered_frames([1, 2]), fps=25)
    os.mkfifo(tmp_path / "pipe")
    for picture, sound, message in (
        (still("PNG"), silent, "no audio track"),
        (wav, wav, "no video track"),
        (still("PNG")[:20], wav, "picture is damaged"),
        (b"junk", wav, "not media"),
        (str(tmp_path / "none.jpg"), wav, "picture cannot be opened"),
        (str(tmp_path), wav, "picture is not a regular file"),
        (str(tmp_path / "pipe"), wav, "picture is not a regular file"),
        (png(0, 4), wav, "picture is damaged"),
        (png(4, 4, text=bytes(2 << 20)), wav, "picture is damaged"),
        (png(70_000, 4), wav, "cannot be put together"),
        (png(30_000, 30_000), wav, "far too many pixels"),
        (png(10_000, 10_000), wav, "far too many pixels"),
        (png(4_000, 4_000), wav, "a picture of 16000000 pixels, more than 9437184"),
        (b"\xff\xd8\xff" + still("GIF"), wav, "picture is damaged"),
        (make_media("avi", frames=numbered_frames(range(8))), wav, "AVI with B-frames"),
        (still("JPEG"), str(tmp_path / "none.wav"), "cannot be opened"),
    ):
        with pytest.raises(MediaError, match=message):
            paired(picture, sound)
    with pytest.raises(MediaError, match="a picture of 3072 pixels"):
        paired(still("PNG"), wav, limits=Limits(max_pixels=1000))
    with pytest.raises(MediaError, match="more than the limit of 100"):
        paired(still("PNG"), wav, limits=Limits(max_bytes=100))


def test_one_clock_and_one_bound_for_all_sounds(wav, monkeypatch):
    half = Limits(max_decode_seconds=0.5)
    ticks = iter(np.arange(0, 100, 0.02))
    monkeypatch.setattr("avssl.media.clock.time.thread_time", lambda: next(ticks))
    paired(still("PNG"), wav, limits=half)
    with pytest.raises(MediaError, match=r"took more than 0\.5 s"):
        paired(still("PNG"), *[wav] * 8, limits=half)
    monkeypatch.undo()
    monkeypatch.setattr("avssl.media.pairing.MAX_SOUND_BYTES", 100_000)
    paired(still("PNG"), wav, wav)
    with pytest.raises(MediaError, match="sound takes more than"):
        paired(still("PNG"), wav, wav, wav, wav)
