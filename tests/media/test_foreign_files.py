"""Nothing bad in gets through, hangs, or reaches beyond the file."""

import io
import os
import socket
import struct
import threading

import av
import numpy as np
import pytest

from avssl.media.decode import decode_frames
from avssl.media.errors import MediaError
from avssl.media.limits import Limits
from avssl.media.probe import probe
from avssl.media.transcode import transcode
from tests.media.make_media import (
    clicks,
    flipped,
    frame_numbers,
    make_bad_files,
    make_clip,
    make_media,
    numbered_frames,
    with_frame_size,
)

EXTENSIONS = ["mp4", "mkv", "avi", "ts", "wav", "mp3", "jpg", "txt", "m3u8", "yuv", "sdp", ""]


@pytest.fixture(scope="module")
def bad_files(tmp_path_factory):
    """(folder, {name: what}); the files that reach beyond themselves name a film outside of it."""
    secret = tmp_path_factory.mktemp("outside") / "secret.mp4"
    secret.write_bytes(make_clip())
    folder = tmp_path_factory.mktemp("bad")
    return folder, make_bad_files(folder, secret)


def test_every_bad_file_is_refused_with_a_reason(bad_files):
    folder, names = bad_files
    for name in names:
        with pytest.raises(MediaError) as by_path:
            transcode(str(folder / name))
        assert str(folder) not in str(by_path.value)
        assert 3 < len(str(by_path.value)) < 120
        if name != "pipe.mp4":
            with pytest.raises(MediaError) as by_bytes:
                transcode((folder / name).read_bytes())
            assert str(by_bytes.value) == str(by_path.value)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("empty.mp4", "is empty"),
        ("pipe.mp4", "not a regular file"),
        ("ten_hours.mp4", "lasts 36000 s, more than the limit of 14400 s"),
        ("eight_k.mp4", "frames of 33177600 pixels, more than the limit"),
        ("cut_after_index.mp4", "truncated|damaged"),
        ("cut.mkv", "truncated: its header promises"),
        ("damaged.mp4", "damaged"),
        ("script.mp4", "not media"),
    ],
)
def test_reasons_are_clear(bad_files, name, reason):
    with pytest.raises(MediaError, match=reason):
        transcode(str(bad_files[0] / name))


@pytest.mark.parametrize("path", ["", "nowhere.mp4", "a\0b.mp4", "/dev/zero", "/"])
def test_paths_that_are_no_files(path):
    with pytest.raises(MediaError, match=r"cannot be opened|not a regular file"):
        probe(path)


def test_limits():
    clip = make_clip(10)
    with pytest.raises(MediaError, match=r"has \d+ bytes, more than the limit of 100"):
        probe(clip, Limits(max_bytes=100))
    with pytest.raises(MediaError, match=r"more than the limit of 0\.1 s"):
        probe(clip, Limits(max_duration_seconds=0.1))
    with pytest.raises(MediaError, match="3072 pixels, more than the limit of 3000"):
        probe(clip, Limits(max_pixels=3000))
    wide = make_media(frames=numbered_frames(range(2), height=4, width=1024))
    with pytest.raises(MediaError, match="after scaling exceed the limit"):
        decode_frames(wide, start_seconds=0, end_seconds=1, short_side=256)


def test_a_header_that_lies_about_the_size_of_its_frames():
    large = np.zeros((1, 1200, 1600, 3), np.uint8)
    honest = make_media(
        "mov", frames=large, video_codec="png", pixel_format="rgb24", b_frames=0
    )  # fmt: skip
    lying = with_frame_size(honest, 64, 64, codec=b"png ")
    assert probe(lying).width == 1600
    with pytest.raises(MediaError, match="more pixels than the limit of 1000000"):
        probe(lying, Limits(max_pixels=1_000_000))


def test_a_long_duration_in_any_header():
    hours = make_media(
        "matroska", frames=numbered_frames(range(2)), frame_times=[0, 36_000], b_frames=0
    )
    with pytest.raises(MediaError, match=r"lasts 3600\d s"):
        probe(hours)


@pytest.mark.parametrize("kind", ["mp4", "matroska", "mpegts", "mpeg", "mp3", "wav", "flac"])
def test_the_extension_says_nothing(kind, tmp_path):
    sound = {"audio": clicks([0.3], 1.0, 44100), "audio_rate": 44100}
    codecs = {"mp3": "libmp3lame", "wav": "pcm_s16le", "flac": "flac", "mpeg": "mp2"}
    frames = {} if kind in ("mp3", "wav", "flac") else {"frames": numbered_frames(range(12))}
    if kind == "mpeg":
        frames["video_codec"] = "mpeg2video"
    media = make_media(kind, **frames, **sound, audio_codec=codecs.get(kind, "aac"))
    expected = probe(media)
    for extension in EXTENSIONS:
        path = tmp_path / f"file.{extension}"
        path.write_bytes(media)
        assert probe(str(path)) == expected


@pytest.mark.parametrize(
    "name",
    ["http:x.mp4", "concat:a|b.mp4", "file:x.mp4", "%03d.mp4", "a b\n.mp4", "-x.mp4", "\udcff.mp4"],
)
def test_odd_names_are_just_names(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with open(os.fsencode(name), "wb") as file:
        file.write(make_clip(10))
    assert probe(name).width == 64
    assert probe(str(tmp_path / name)).width == 64


def test_no_connection_is_made(tmp_path):
    connections = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        closing = threading.Event()

        def listen() -> None:
            while not closing.is_set():
                try:
                    connections.append(server.accept()[1])
                except TimeoutError:
                    continue

        listener = threading.Thread(target=listen)
        listener.start()
        address = f"http://127.0.0.1:{server.getsockname()[1]}/x.ts"
        header = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n"
        texts = {
            "segment.m3u8": f"{header}#EXTINF:2,\n{address}\n#EXT-X-ENDLIST\n",
            "child.m3u8": f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{address}\n",
            "key.m3u8": f'{header}#EXT-X-KEY:METHOD=AES-128,URI="{address}"\n#EXTINF:2,\na.ts\n',
            "script.mp4": f"ffconcat version 1.0\nfile '{address}'\n",
            "dash.mpd": f'<?xml version="1.0"?><MPD><BaseURL>{address}</BaseURL></MPD>',
            "name.asx": f'<asx version="3.0"><entry><ref href="{address}"/></entry></asx>',
        }
        try:
            for name, text in texts.items():
                (tmp_path / name).write_text(text)
                for media in (str(tmp_path / name), text.encode()):
                    with pytest.raises(MediaError):
                        probe(media)
        finally:
            closing.set()
            listener.join()
    assert connections == []


def test_cover_pictures_are_no_video():
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp3") as file:
        sound = file.add_stream("libmp3lame", rate=44100, layout="mono")
        cover = file.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 48, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        picture = av.VideoFrame.from_ndarray(numbered_frames([3])[0], "rgb24")
        packets = cover.encode(picture) + cover.encode(None)
        frame = av.AudioFrame.from_ndarray(clicks([0.3], 1.0, 44100).T.copy(), "s16", "mono")
        frame.sample_rate, frame.pts = 44100, 0
        file.mux(packets + sound.encode(frame) + sound.encode(None))
    described = probe(buffer.getvalue())
    assert (described.has_video, described.has_audio) == (False, True)


def test_junk_between_packets_is_normal_only_in_streams():
    transport = make_clip(40, container="mpegts")
    # Two packets of 188 bytes lost in the middle, as in any broadcast.
    lossy = transport[: 188 * 60] + transport[188 * 62 :]
    frames = decode_frames(lossy, start_seconds=0, end_seconds=9)
    assert len(frame_numbers(frames.pixels)) > 30
    tagged = make_media(
        "mp3", audio=clicks([0.3], 1.0, 44100), audio_rate=44100, audio_codec="libmp3lame"
    )
    assert transcode(tagged + b"TAG" + b"title" + bytes(120))


# Of the first 80 seeds these damage the list of tracks so.
@pytest.mark.parametrize("seed", [11, 22, 38, 74])
def test_damage_that_announces_another_track(seed):
    good = make_media("mpegts", frames=numbered_frames(range(75)), gop=12, b_frames=2)
    with pytest.raises(MediaError, match="speak of a track that it does not have"):
        transcode(flipped(good, 0.0006, seed))


def test_a_declared_track_without_data_is_not_there():
    whole = make_clip(20, container="mpegts")
    packets = [whole[first : first + 188] for first in range(0, len(whole), 188)]
    # The muxer gives the second track this packet identifier.
    sound = [packet for packet in packets if int.from_bytes(packet[1:3]) & 0x1FFF == 0x101]
    assert sound
    described = probe(b"".join(packet for packet in packets if packet not in sound))
    assert (described.has_video, described.has_audio) == (True, False)
    wave = bytearray(make_media("wav", audio=clicks([0.3], 1.0, 44100), audio_codec="pcm_s16le"))
    struct.pack_into("<I", wave, 24, 1_000_000)
    with pytest.raises(MediaError, match="1000000 Hz is not plausible"):
        probe(bytes(wave))


@pytest.mark.parametrize("container", ["mp4", "matroska", "mpegts", "avi"])
def test_random_damage_ends_in_an_array_or_a_reason(container):
    """A short fuzz; a crash or a hang would take the test run with it."""
    codec = "libmp3lame" if container == "avi" else "aac"
    good = make_clip(20, container=container, audio_codec=codec)
    outcomes = set()
    for seed in range(25):
        try:
            transcode(flipped(good, 0.003, seed), limits=Limits(max_decode_seconds=5.0))
            outcomes.add("kept")
        except MediaError:
            outcomes.add("refused")
    assert "refused" in outcomes
