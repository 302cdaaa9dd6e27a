"""What happens to channels between the track and the array."""

import numpy as np
import pytest

from avssl.media.decode import decode_audio
from avssl.media.errors import MediaError
from tests.media.make_media import click_times, clicks, make_media

RATE = 24000


def heard(media: bytes, channels: int, threshold: float = 0.05) -> list[list[float]]:
    """Click times of each channel."""
    samples = decode_audio(media, start_seconds=0, seconds=1.0, rate=RATE, channels=channels)
    return [click_times(samples[:, c], RATE, threshold) for c in range(channels)]


def wav(times: list[list[float]], layout: str) -> bytes:
    """One click time per channel."""
    sound = clicks(times, 1.0, RATE, len(times))
    return make_media(
        "wav", audio=sound, audio_rate=RATE, audio_codec="pcm_s16le", audio_layout=layout
    )


def about(times: list[list[float]]) -> list:
    return [pytest.approx(channel, abs=1e-3) for channel in times]


def test_stereo_and_mono():
    stereo = wav([[0.2], [0.4]], "stereo")
    assert heard(stereo, 2) == about([[0.2], [0.4]])
    assert heard(stereo, 1) == about([[0.2, 0.4]])
    mono = wav([[0.2]], "mono")
    assert heard(mono, 2) == about([[0.2], [0.2]])


def test_two_channels_are_left_and_right_whatever_they_are_called():
    named, plain = (wav([[0.2], [0.4]], layout) for layout in ("stereo", "2 channels"))
    for channels in (1, 2, 4):
        assert heard(plain, channels) == heard(named, channels)


def test_mono_is_the_mean():
    sound = clicks([0.2], 0.5, RATE, 2, noise=2000)
    file = make_media("wav", audio=sound, audio_rate=RATE, audio_codec="pcm_s16le")
    mono = decode_audio(file, start_seconds=0, seconds=0.5, rate=RATE, channels=1)
    np.testing.assert_allclose(mono, sound.mean(axis=1, keepdims=True), atol=0.51)


@pytest.mark.parametrize(("container", "layout"), [("mp4", "4.0"), ("wav", "4 channels")])
def test_ambisonics_pass_through(container, layout):
    sound = clicks([[0.2], [0.4], [0.6], [0.8]], 1.0, RATE, 4)
    codec = "aac" if container == "mp4" else "pcm_s16le"
    file = make_media(
        container, audio=sound, audio_rate=RATE, audio_codec=codec, audio_layout=layout
    )
    assert heard(file, 4) == about([[0.2], [0.4], [0.6], [0.8]])
    assert heard(file, 1) == about([[0.2, 0.4, 0.6, 0.8]])
    # W and Y through two cardioids: Y arrives in the left ear, and upside down in the right.
    assert heard(file, 2) == about([[0.2, 0.4], [0.2, *heard(file, 2)[1][1:]]])
    samples = decode_audio(file, start_seconds=0, seconds=1, rate=RATE, channels=2)
    peak = round(0.4 * RATE)
    assert samples[peak, 0] == pytest.approx(-samples[peak, 1], abs=800)


def test_speakers_are_encoded_by_their_azimuth():
    file = wav([[0.2], [0.4], [0.6], [0.7], [0.8], [0.9]], "5.1")
    samples = decode_audio(file, start_seconds=0, seconds=1, rate=RATE, channels=4)
    left, centre, subwoofer, back = (samples[round(t * RATE)] for t in (0.2, 0.6, 0.7, 0.8))
    w, y, z, x = left / left[0]
    assert (w, z) == (1, 0)
    assert y == pytest.approx(0.5, abs=0.05)
    assert x == pytest.approx(0.87, abs=0.05)
    assert centre[3] == pytest.approx(centre[0], abs=30)
    assert abs(subwoofer[0]) < 100
    assert back[1] > 0 > back[3]


def test_surround_to_stereo():
    assert heard(wav([[0.2], [0.4], [0.6], [0.7], [0.8], [0.9]], "5.1"), 2) == about(
        [[0.2, 0.6, 0.8], [0.4, 0.6, 0.9]]
    )


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_channels_without_places_are_heard_in_the_middle(channels):
    """Eight microphones by 7.1 would lose the fourth, as a subwoofer, and lie left and right."""
    times = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
    expected = [times] * channels if channels < 4 else [times, [], [], []]
    assert heard(wav([[time] for time in times], "8 channels"), channels) == about(expected)


def test_eight_microphones_are_heard_apart_and_come_from_nothing_else():
    times = [[0.1], [0.2], [0.3], [0.4], [0.5], [0.6], [0.7], [0.8]]
    assert heard(wav(times, "8 channels"), 8) == about(times)
    with pytest.raises(MediaError, match="has 2 channels, and not 8 microphones"):
        heard(wav(times[:2], "stereo"), 8)


@pytest.mark.parametrize(
    ("container", "codec"), [("mp4", "aac"), ("flac", "flac"), ("matroska", "libopus")]
)
def test_eight_planar_channels_do_not_kill_the_process(container, codec):
    """`to_ndarray` of a planar frame of eight channels is a segmentation fault in PyAV 18.1."""
    times = [[0.1], [0.2], [0.3], [0.4], [0.5], [0.6], [0.7], [0.8]]
    sound = clicks(times, 1.0, 48000, 8)
    file = make_media(container, audio=sound, audio_codec=codec, audio_layout="7.1")
    assert heard(file, 2) == about([[0.1, 0.3, 0.5, 0.7], [0.2, 0.3, 0.6, 0.8]])
