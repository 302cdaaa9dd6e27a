import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from avssl.data.build import build
from avssl.data.open import open_source
from avssl.data.verify import verify
from avssl.errors import UsageError
from avssl.media.decode import decode_frames
from avssl.media.encode import encode_clip
from avssl.media.limits import Limits
from avssl.media.probe import probe

FPS, RATE, SECONDS = 16, 16000, 0.5
NUM_FRAMES = round(SECONDS * FPS)


def clip(seed: int, *, video: bool = True, audio: bool = True, size: int = 32) -> bytes:
    draws = np.random.default_rng(seed)
    colours = draws.integers(0, 256, (NUM_FRAMES, 1, 1, 3), dtype=np.uint8)
    frames = np.broadcast_to(colours, (NUM_FRAMES, size, size + 16, 3)) if video else None
    sound = (
        draws.integers(-9000, 9000, (round(SECONDS * RATE), 2)).astype(np.int16) if audio else None
    )
    return encode_clip(frames, FPS, sound, RATE, gop=4)


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    """A folder as people have them."""
    root = tmp_path_factory.mktemp("clips")
    for name in ("cat", "dog"):
        (root / name).mkdir()
    good = clip(0)
    for seed in range(8):
        (root / ("cat", "dog")[seed % 2] / f"{seed}.mp4").write_bytes(clip(seed))
    (root / "cat" / "silent.mp4").write_bytes(clip(20, audio=False))
    (root / "cat" / "sound only.m4a").write_bytes(clip(21, video=False))
    (root / "dog" / "wrong.txt").write_bytes(good)
    (root / "dog" / "large").write_bytes(clip(22, size=160))
    (root / "dog" / "cut.mp4").write_bytes(good[: len(good) // 2])
    (root / "dog" / "empty.mp4").write_bytes(b"")
    (root / "dog" / "words.mp4").write_text("no video at all")
    (root / "dog" / "notes.txt").write_text("about dogs")
    return root


KEPT = [
    *(f"cat/{seed}.mp4" for seed in (0, 2, 4, 6)),
    "cat/silent.mp4",
    "cat/sound only.m4a",
    *(f"dog/{seed}.mp4" for seed in (1, 3, 5, 7)),
    "dog/large",
    "dog/wrong.txt",
]


@pytest.fixture(scope="module")
def built(clips, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("built") / "set"
    build(f"folder:{clips}", str(out), audio_rate=16000, num_shards=3)
    return out


def shards(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.iterdir() if "array_record" in path.name}


def test_everything_usable_is_kept_and_the_rest_is_named(built, clips):
    report = json.loads((built / "build_report.json").read_text())
    dropped = {entry["key"]: entry["reason"] for entry in report["dropped"]}
    assert sorted(dropped) == ["dog/cut.mp4", "dog/empty.mp4", "dog/notes.txt", "dog/words.mp4"]
    assert dropped["dog/notes.txt"] == "no media (.txt file)"
    assert all(str(clips) not in reason for reason in dropped.values())
    source = open_source(f"tfds:{built}")
    assert [source.key(index) for index in range(len(source))] == KEPT
    assert (report["kept"], report["without_audio"], report["without_video"]) == (12, 1, 1)


def test_records_are_small_and_know_what_they_are(built):
    source = open_source(f"tfds:{built}")
    assert source.label_names == ("cat", "dog")
    assert source.labels().tolist() == [0] * 6 + [1] * 6
    has_video, has_audio = source.modalities()
    assert np.flatnonzero(~has_video).tolist() == [KEPT.index("cat/sound only.m4a")]
    assert np.flatnonzero(~has_audio).tolist() == [KEPT.index("cat/silent.mp4")]
    large = source[KEPT.index("dog/large")]
    found = probe(large.media)
    assert (found.height, found.audio_rate, found.audio_channels) == (128, 16000, 2)
    assert large.duration_seconds == pytest.approx(SECONDS, abs=0.1)
    assert (large.start_seconds, large.end_seconds) == (0.0, None)
    # Small ones are not blown up.
    assert probe(source[0].media).height == 32
    frames = decode_frames(source[0].media, start_seconds=0.0, end_seconds=SECONDS)
    assert len(frames.times) == NUM_FRAMES


def test_same_input_gives_the_same_bytes_with_any_number_of_workers(built, clips, tmp_path):
    report = build(
        f"folder:{clips}", str(tmp_path / "again"), audio_rate=16000, num_shards=3, workers=2
    )
    assert shards(tmp_path / "again") == shards(built)
    assert not report.already_complete
    assert report.kept == 12


def test_a_second_build_says_that_it_is_done(built, clips):
    before = shards(built)
    report = build(f"folder:{clips}", str(built), audio_rate=16000, num_shards=3)
    assert report.already_complete
    assert "was complete already: 12 records" in report.summary()
    assert shards(built) == before
    with pytest.raises(UsageError, match="audio_rate: 16000, now 24000"):
        build(f"folder:{clips}", str(built), num_shards=3)


@pytest.mark.parametrize(("video_format", "codec"), [("jpeg", "mjpeg"), ("raw", "rawvideo")])
def test_records_of_other_formats(built, clips, video_format, codec, tmp_path):
    out = str(tmp_path / "out")
    options = dict(audio_rate=16000, video_format=video_format, fps=8.0)
    report = build(f"folder:{clips}", out, **options)
    bytes_per_clip = report.num_bytes // report.kept
    assert f" MiB of {video_format}, {bytes_per_clip} bytes a clip; " in report.summary()
    settings = json.loads((tmp_path / "out" / "build_report.json").read_text())["settings"]
    assert (settings["video_format"], settings["fps"]) == (video_format, 8.0)
    source, h264 = open_source(f"tfds:{out}"), open_source(f"tfds:{built}")
    assert [source.key(index) for index in range(len(source))] == KEPT
    assert [has.tolist() for has in source.modalities()] == [
        has.tolist() for has in h264.modalities()
    ]
    assert source[0].duration_seconds == pytest.approx(SECONDS, abs=0.1)
    assert (probe(source[0].media).video_codec, probe(source[0].media).fps) == (codec, 8)
    pixels, own = (
        decode_frames(source[0].media, start_seconds=0.0, end_seconds=SECONDS).pixels
        for source in (source, h264)
    )
    assert len(pixels) == NUM_FRAMES // 2
    assert np.abs(pixels.astype(int) - own[::2]).mean() < 6
    assert verify(f"tfds:{out}") == []
    with pytest.raises(UsageError, match=rf"\(video_format: {video_format}, now h264\)"):
        build(f"folder:{clips}", out, **{**options, "video_format": "h264"})
    with pytest.raises(UsageError, match=r"\(fps: 8.0, now None\)"):
        build(f"folder:{clips}", out, **{**options, "fps": None})


def test_a_build_that_does_not_state_its_format_is_of_h264(clips, built, tmp_path):
    old = shutil.copytree(built, tmp_path / "old")
    report = json.loads((old / "build_report.json").read_text())
    del report["settings"]["video_format"], report["settings"]["fps"]
    (old / "build_report.json").write_text(json.dumps(report))
    options = dict(audio_rate=16000, num_shards=3)
    assert "MiB of h264, " in build(f"folder:{clips}", str(old), **options).summary()
    with pytest.raises(UsageError, match=r"\(video_format: h264, now jpeg\)"):
        build(f"folder:{clips}", str(old), video_format="jpeg", **options)


def test_required_modalities(clips, tmp_path):
    report = build(f"folder:{clips}", str(tmp_path / "out"), require=("audio", "video"))
    assert (report.kept, report.without_audio, report.without_video) == (10, 0, 0)
    reasons = dict(report.dropped)
    assert reasons["cat/silent.mp4"] == "no audio, which --require asks for"
    assert reasons["cat/sound only.m4a"] == "no video, which --require asks for"
    assert "  dropped cat/silent.mp4: no audio, which --require asks for" in report.summary()
    assert report.summary(max_names=1).endswith(
        f"  and 5 more, all named in {tmp_path}/out/build_report.json"
    )


def test_parts_of_videos_by_manifest(clips, tmp_path):
    (clips / "parts.csv").write_text(
        "path,start,end,label\n"
        "cat/0.mp4,0.125,0.375,x\ncat/0.mp4,0.25,,y\ncat/2.mp4,5,6,x\nnone.mp4,,,x\n"
    )
    try:
        report = build(f"manifest:{clips}/parts.csv", str(tmp_path / "out"))
    finally:
        (clips / "parts.csv").unlink()
    assert [key for key, _ in report.dropped] == ["cat/2.mp4#t=5,6", "none.mp4"]
    source = open_source(f"tfds:{tmp_path / 'out'}")
    assert [source.key(index) for index in range(2)] == [
        "cat/0.mp4#t=0.125,0.375",
        "cat/0.mp4#t=0.25",
    ]
    assert source.label_names == ("x", "y")
    for index in range(2):
        assert source[index].start_seconds == 0.0
        assert source[index].duration_seconds == pytest.approx(0.25, abs=0.1)
    pixels = decode_frames(source[0].media, start_seconds=0.0, end_seconds=0.25).pixels
    whole = decode_frames(clip(0), start_seconds=0.125, end_seconds=0.375).pixels
    assert len(pixels) == len(whole) == 4
    assert np.abs(pixels.astype(int) - whole).mean() < 6


def test_a_world_keeps_its_truth(tmp_path):
    build("world:tiny@test", str(tmp_path / "out"))
    world, source = open_source("world:tiny@test"), open_source(f"tfds:{tmp_path / 'out'}")
    assert [source[index].truth for index in range(4)] == [world[index].truth for index in range(4)]
    assert source.label_names == world.label_names


BAD_DECODER = """
import os
from avssl.media.transcode import transcode

def moody(media, **options):
    name = os.path.basename(media)
    if name == "1.mp4":
        os.abort()
    if name == "2.mp4":
        while True:
            pass
    if name == "3.mp4":
        bytearray(8 << 30)
    return transcode(media, **options)
"""


def test_a_decoder_that_dies_hangs_or_devours_costs_one_file(tmp_path, clips, monkeypatch):
    (tmp_path / "bad_decoder.py").write_text(BAD_DECODER)
    monkeypatch.syspath_prepend(str(tmp_path))
    import bad_decoder

    report = build(
        f"folder:{clips}", str(tmp_path / "out"), workers=2, transcode=bad_decoder.moody,
        limits=Limits(max_decode_seconds=0.8),
    )  # fmt: skip
    reasons = dict(report.dropped)
    assert "SIGABRT" in reasons["dog/1.mp4"]
    assert reasons["cat/2.mp4"] == "hangs the decoder"
    assert "memory" in reasons["dog/3.mp4"]
    assert report.kept == 9


BUILD = """
import sys
from avssl.data.build import build
build(sys.argv[1], sys.argv[2], audio_rate=16000, num_shards=12, workers=1, video_format=sys.argv[3])
"""


@pytest.mark.parametrize("video_format", ["h264", "raw"])
def test_killed_builds_end_up_the_same(clips, video_format, tmp_path):
    options = dict(audio_rate=16000, num_shards=12, video_format=video_format)
    whole = build(f"folder:{clips}", str(tmp_path / "whole"), **options)
    out = tmp_path / "out"
    command = [sys.executable, "-c", BUILD, f"folder:{clips}", str(out), video_format]
    for num_shards in (2, 7):
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
            deadline = time.monotonic() + 60
            while len(list(out.glob("avssl-*"))) < num_shards and time.monotonic() < deadline:
                time.sleep(0.002)
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
        assert not (out / "dataset_info.json").exists()
    with pytest.raises(UsageError, match=f"unfinished .*video_format: {video_format}, now jpeg"):
        build(f"folder:{clips}", str(out), **{**options, "video_format": "jpeg"})
    report = build(f"folder:{clips}", str(out), **options)
    assert not report.already_complete
    assert (report.kept, report.dropped) == (whole.kept, whole.dropped)
    assert shards(out) == shards(tmp_path / "whole")
    assert not (out / ".build").exists()


def test_nothing_usable_is_an_error_that_says_why(tmp_path):
    (tmp_path / "clips").mkdir()
    for name in ("a\x1b[31m.mp4", "b.mp4"):
        (tmp_path / "clips" / name).write_text("words")
    out = tmp_path / "out"
    with pytest.raises(UsageError, match=r"no record of .*, 2 were dropped") as caught:
        build(f"folder:{tmp_path}/clips", str(out))
    assert "\x1b" not in str(caught.value)
    assert "a\\x1b[31m.mp4: " in str(caught.value)
    assert [path.name for path in out.iterdir()] == ["build_report.json"]


def test_wrong_arguments(clips, tmp_path):
    spec, out = f"folder:{clips}", str(tmp_path / "out")
    with pytest.raises(UsageError, match="did you mean 'audio'"):
        build(spec, out, require=("audoi",))
    with pytest.raises(UsageError, match="--short-side is 0"):
        build(spec, out, short_side=0)
    with pytest.raises(UsageError, match="--audio-rate is 25000; AAC knows 7350, "):
        build(spec, out, audio_rate=25000)
    with pytest.raises(UsageError, match="unknown --video-format 'jpg'; did you mean 'jpeg'"):
        build(spec, out, video_format="jpg")
    with pytest.raises(UsageError, match="--fps is 0; it must be above 0"):
        build(spec, out, fps=0.0)
    with pytest.raises(UsageError, match="lies in the folder that it is built from"):
        build(spec, str(clips / "dog" / "out"))
    assert not os.path.exists(out)


def test_a_changed_source_is_not_mixed_with_the_old_one(clips, tmp_path):
    copy = shutil.copytree(clips, tmp_path / "clips")
    build(f"folder:{copy}", str(tmp_path / "out"))
    (copy / "dog" / "new.mp4").write_bytes(clip(9))
    with pytest.raises(UsageError, match="was built from other data than"):
        build(f"folder:{copy}", str(tmp_path / "out"))
