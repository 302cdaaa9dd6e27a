"""Pictures and sound of two files as one."""

import io

import numpy as np
import pytest
from PIL import Image

from avssl.media.decode import decode_audio, decode_video
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


def test_frames_and_samples_of_two_videos_keep_their_values_and_times():
    pictures = make_media(frames=numbered_frames(range(40)), fps=25)
    sound = make_media("mp4", audio=clicks([0.25, 1.25], 1.5, 48000, 4))
    media = paired(pictures, sound)
    np.testing.assert_array_equal(seen(media), seen(pictures))
    assert frame_numbers(seen(media)) == [10, 12, 15]
    np.testing.assert_array_equal(heard(media, 4, 48000), heard(sound, 4, 48000))


def test_what_cannot_be_paired(wav, tmp_path):
    silent = make_media(frames=numbered_frames([1, 2]), fps=25)
    for picture, sound, message in (
        (still("PNG"), silent, "no audio track"),
        (wav, wav, "no video track"),
        (still("PNG")[:20], wav, "picture is damaged"),
        (b"junk", wav, "not media"),
        (str(tmp_path / "none.jpg"), wav, "picture cannot be opened"),
        (still("JPEG"), str(tmp_path / "none.wav"), "cannot be opened"),
    ):
        with pytest.raises(MediaError, match=message):
            paired(picture, sound)
    with pytest.raises(MediaError, match="a picture of 3072 pixels"):
        paired(still("PNG"), wav, limits=Limits(max_pixels=1000))
