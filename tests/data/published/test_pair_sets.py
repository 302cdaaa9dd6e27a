"""VoxCeleb's pairs of utterances, YT-360's pairs of files, MAVD's many files a moment."""

import io

import numpy as np
import pytest
from PIL import Image

from avssl.errors import UsageError
from avssl.evaluate.error_rates import equal_error_rate
from avssl.evaluate.trials import listed_trials
from avssl.media.decode import decode_audio, decode_video
from avssl.media.probe import probe
from avssl.media.transcode import transcode
from tests.data.published.trees import (
    AUDIO_RATE,
    classes,
    decoded,
    keys,
    opened,
    plant,
    rows,
    sound,
    video,
)
from tests.media.make_media import click_times, clicks, frame_numbers, make_media, numbered_frames

A1, A2, B1, GONE = (
    "id10270/x6uYqmx31kE/00001.wav", "id10270/8jEAjG6SegY/00008.wav",
    "id10300/ize_eiCFEg0/00003.wav", "id10309/0cYFdtyWVds/00001.wav",
)  # fmt: skip


@pytest.fixture
def voxceleb(tmp_path):
    return plant(
        tmp_path,
        {
            "veri_test2.txt": rows(
                f"1 {A1} {A2}", f"0 {A1} {B1}", f"0 {B1} {A2}", f"0 {A2} {GONE}"
            ),
            "iden_split.txt": rows(f"3 {A1}", f"1 {A2}", f"1 {B1}", f"2 {GONE}"),
            f"wav/{A1}": sound(),
            f"mp4/{A2.replace('.wav', '.mp4')}": video(4),
            f"aac/{B1.replace('.wav', '.m4a')}": video(5),
        },
    )


def test_trials_of_voxceleb(voxceleb, caplog):
    source = opened("voxceleb", voxceleb, "veri_test2")
    assert keys(source) == [A1, A2, B1]
    assert classes(source) == ["id10270", "id10270", "id10300"]
    assert source.label_names == ("id10270", "id10300", "id10309")
    assert source.skipped == ((GONE, "not on disk"),)
    assert "1 of 4 trials lack an utterance; 3 are left" in caplog.text
    trials = listed_trials(source, np.arange(3), np.arange(3))
    assert (trials.first.tolist(), trials.second.tolist()) == ([0, 0, 2], [1, 2, 1])
    assert trials.same.tolist() == [True, False, False]
    # Places are those in the indices, whatever their order.
    turned = listed_trials(source, np.arange(3), np.array([2, 0]))
    assert (turned.first, turned.second, turned.same) == ([1], [0], [False])
    embeddings = np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
    scores = (embeddings[trials.first] * embeddings[trials.second]).sum(axis=1)
    assert equal_error_rate(scores, trials.same) == 0
    assert frame_numbers(decoded(source[1]).video) == [4, 4]


def test_identification_splits_of_voxceleb(voxceleb):
    assert keys(opened("voxceleb", voxceleb, "iden_train")) == [A2, B1]
    source = opened("voxceleb", voxceleb, "iden_test")
    assert classes(source) == ["id10270"]
    with pytest.raises(UsageError, match="names no pairs"):
        listed_trials(source, np.arange(1), np.arange(1))
    with pytest.raises(UsageError, match=r"none of the 1 records that iden_split\.txt"):
        opened("voxceleb", voxceleb, "iden_dev")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"1 {A1}", r"veri_test2\.txt:1: .* is not 0 or 1 and 2 utterances; is it torn"),
        (f"2 {A1} {A2}", "is not 0 or 1"),
        (f"1 {A1} /etc/passwd", "names no file below"),
        ("1 a b", "'a' is no utterance of a person"),
    ],
)
def test_torn_voxceleb(line, message, voxceleb):
    plant(voxceleb, {"veri_test2.txt": line})
    with pytest.raises(UsageError, match=message):
        opened("voxceleb", voxceleb, "veri_test2")


@pytest.fixture
def yt360(tmp_path):
    return plant(
        tmp_path,
        {
            "datasets/assets/yt360/train.txt": rows("pFFGCVZM68g", "-6hVjVnEzuw"),
            "datasets/assets/yt360/test.txt": rows("j6k4DM1eA70", "unknown-0id"),
            "datasets/assets/yt360/segments.txt": rows(
                "pFFGCVZM68g 82,95", "-6hVjVnEzuw 41,52", "j6k4DM1eA70 0"
            ),
            "video/pFFGCVZM68g-82.mp4": video(1),
            "audio/pFFGCVZM68g-82.m4a": sound(1.0, 4),
            "video/-6hVjVnEzuw-052.mp4": video(2),
            "audio/-6hVjVnEzuw-052.wav": sound(1.0, 4),
            # Without a sound a picture is no pair.
            "video/-6hVjVnEzuw-41.mp4": video(2),
            "video/j6k4DM1eA70-0.mp4": video(3),
            "audio/j6k4DM1eA70-0.wav": sound(1.0, 4),
        },
    )


def test_yt360(yt360):
    train, test = (opened("yt360", yt360, split) for split in ("train", "test"))
    assert keys(train) == ["pFFGCVZM68g-82", "-6hVjVnEzuw-52"]
    assert train.skipped == (
        ("pFFGCVZM68g-95", "not on disk"),
        ("-6hVjVnEzuw-41", "not on disk"),
    )
    assert keys(test) == ["j6k4DM1eA70-0"]
    assert test.skipped == (("unknown-0id", "not in segments.txt"),)
    assert frame_numbers(decoded(train[1]).video) == [2, 2]
    facts = probe(train[1].media)
    assert (facts.audio_channels, facts.audio_rate) == (4, AUDIO_RATE)


def test_torn_yt360(yt360):
    plant(yt360, {"datasets/assets/yt360/segments.txt": "pFFGCVZM68g 82,95\n-6hV\n"})
    with pytest.raises(UsageError, match=r"segments\.txt:2: '-6hV' is no id and starts"):
        opened("yt360", yt360, "train")
    plant(yt360, {"datasets/assets/yt360/segments.txt": "pFFGCVZM68g 82,x\n"})
    with pytest.raises(UsageError, match=r"segments\.txt:1: start 'x' is no number"):
        opened("yt360", yt360, "train")


DRIVE, STAMP = "drive_day_2020_04_21_15_58_22", "1587477502_123456789_7"


# The upper half lies 15 m away, the lower one 3 m.
DISTANCES = np.repeat(np.array([15.0, 3.0], np.float32), 24)[:, None].repeat(64, axis=1)


def png(frame):
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "PNG")
    return buffer.getvalue()


def pfm(metres):
    """Rows from the lowest one up."""
    height, width = metres.shape
    return f"Pf\n{width} {height}\n-1.0\n".encode() + metres[::-1].astype("<f4").tobytes()


def shown(record, stream):
    return decode_video(record.media, start_seconds=0, num_frames=1, fps=1, stream=stream)


@pytest.fixture
def mavd(tmp_path):
    heard = [
        make_media(
            "wav", audio=clicks([0.1 * (k + 1)], 1, AUDIO_RATE), audio_rate=AUDIO_RATE,
            audio_codec="pcm_s16le",
        )
        for k in range(8)
    ]  # fmt: skip
    sounds = {f"{DRIVE}/audio/audio_{k}_{STAMP}.wav": media for k, media in enumerate(heard)}
    lines = rows(f"{DRIVE}/{STAMP}", f"{DRIVE}/1_23_7", "drive_night_1/1587477502_123456789_8")
    return plant(
        tmp_path,
        {
            "train_all.txt": lines,
            f"{DRIVE}/fl_rgb/fl_rgb_{STAMP}.png": png(numbered_frames([77])[0]),
            f"{DRIVE}/fl_ir_aligned/fl_ir_aligned_{STAMP}.png": png(numbered_frames([51])[0]),
            f"{DRIVE}/fl_rgb_depth/fl_rgb_{STAMP}.pfm": pfm(DISTANCES),
            **sounds,
        },
    )


def test_mavd(mavd):
    source = opened("mavd", mavd, "train_all")
    assert keys(source) == [f"{DRIVE}/{STAMP}"]
    assert [reason for _, reason in source.skipped] == ["its time stamp is none", "not on disk"]
    record = source[0]
    assert record.truth == {"day": True}
    assert frame_numbers(decoded(record).video) == [77, 77]
    found = probe(record.media)
    assert found.audio_channels == 8
    assert set(found.video_streams) == {"thermal", "depth"}
    assert frame_numbers(shown(record, "thermal")) == [51]
    # Black at nothing, white at the farthest, and the nearer of two in between by the logarithm.
    depth = shown(record, "depth")[0].astype(float)
    top, bottom = depth[:8].mean(), depth[-8:].mean()
    assert top == pytest.approx(255, abs=2)
    assert bottom == pytest.approx(255 * np.log(4) / np.log(16), abs=2)
    eight = decode_audio(record.media, start_seconds=0, seconds=1, rate=AUDIO_RATE, channels=8)
    for channel in range(8):
        times = click_times(eight[:, channel], AUDIO_RATE, threshold=0.4)
        np.testing.assert_allclose(times, [0.1 * (channel + 1)], atol=2e-3)
    mono = decode_audio(record.media, start_seconds=0, seconds=1, rate=AUDIO_RATE, channels=1)
    times = click_times(mono[:, 0], AUDIO_RATE, threshold=0.4 / 8)
    np.testing.assert_allclose(times, [0.1 * (k + 1) for k in range(8)], atol=2e-3)
    # What `data build` keeps of it: no loudspeakers, of which one would be for the lowest tones alone.
    built = transcode(record.media)
    for channels in (1, 2):
        mean = decode_audio(
            built, start_seconds=0, seconds=1, rate=AUDIO_RATE, channels=channels
        ).mean(axis=1)  # fmt: skip
        times = click_times(mean, AUDIO_RATE, threshold=0.4 / 8)
        np.testing.assert_allclose(times, [0.1 * (k + 1) for k in range(8)], atol=2e-3)
    (mavd / DRIVE / "audio" / f"audio_3_{STAMP}.wav").unlink()
    with pytest.raises(UsageError, match="none of the 3 records"):
        opened("mavd", mavd, "train_all")


def test_torn_mavd(mavd):
    plant(mavd, {"train_all.txt": f"{DRIVE}/{STAMP}\n{DRIVE}\n"})
    with pytest.raises(UsageError, match=r"train_all\.txt:2: .* is not DRIVE/SECONDS"):
        opened("mavd", mavd, "train_all")
