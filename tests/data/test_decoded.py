"""A window is the same numbers with any cache; what the caches keep, and when they stop."""

import io
import itertools
import time
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from avssl.data import decoded
from avssl.data.decoded import Decoder, crop_frames, samples_between
from avssl.data.handle import Facts, Handle
from avssl.data.kept import Cache, DiskCache, MemoryCache, make_cache
from avssl.data.placement import Crop
from avssl.data.record import Record
from avssl.data.views import AudioView, VideoView
from avssl.errors import UsageError
from avssl.media.decode import decode_audio
from avssl.media.encode import encode_clip
from avssl.media.errors import MediaError
from avssl.media.limits import Limits
from tests.media.make_media import flipped, make_media

VIDEO = VideoView(frames=3, fps=6.0, size=28)
AUDIO = AudioView(seconds=0.7, rate=6000)


def noisy_clip(seconds=7, rate=44100):
    """Sound in FFmpeg's AAC with noise substitution, whose decoder carries a random generator."""
    buffer = io.BytesIO()
    draws = np.random.default_rng(0)
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream(
            "aac", rate=rate, layout="mono", options={"aac_pns": "1", "aac_coder": "twoloop"}
        )
        stream.bit_rate = 24000
        samples = draws.normal(0, 0.1, (1, seconds * rate)).astype(np.float32)
        for first in range(0, samples.shape[1], 1024):
            block = np.ascontiguousarray(samples[:, first : first + 1024])
            frame = av.AudioFrame.from_ndarray(block, "fltp", "mono")
            frame.sample_rate, frame.pts, frame.time_base = rate, first, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


class OneRecord:
    """A source of one record."""

    def __init__(self, record):
        self.record = record
        self.num_reads = 0

    def __len__(self):
        return 1

    def __getitem__(self, index):
        self.num_reads += 1
        return self.record


def handle_of(record):
    return Handle(Facts(OneRecord(record), Limits()), 0)


def caches(tmp_path, monkeypatch):
    monkeypatch.setenv("AVSSL_CACHE", str(tmp_path))
    memory, disk = MemoryCache(10**8), DiskCache(10**8, "f" * 32)
    # The second pass over each finds what the first has left.
    return [Cache(), memory, memory, disk, disk]


def same_everywhere(record, views_and_starts, tmp_path, monkeypatch):
    """Reads the windows through every cache; returns those of the first."""
    passes = []
    for cache in caches(tmp_path, monkeypatch):
        decoder = Decoder(cache)
        arrays = []
        for view, start in views_and_starts:
            with handle_of(record) as handle:
                if isinstance(view, VideoView):
                    pixels, chosen = decoder.frames(handle, view, start)
                    arrays.append(np.array(pixels[chosen]))
                else:
                    arrays.append(np.array(decoder.audio(handle, view, start)))
        passes.append(arrays)
    for arrays in passes[1:]:
        for expected, array in zip(passes[0], arrays, strict=True):
            np.testing.assert_array_equal(expected, array)
    return passes[0]


def test_windows_are_the_same_with_every_cache(clips, tmp_path, monkeypatch):
    record = Record("a", 0, clips[0])
    windows = [(VIDEO, s) for s in (0.0, 0.31, 0.999, 1.5)] + [(AUDIO, s) for s in (0.0, 0.4, 1.29)]
    arrays = same_everywhere(record, windows, tmp_path, monkeypatch)
    assert arrays[0].shape == (3, 32, 40, 3)
    assert (arrays[0][0] != arrays[0][1]).any()
    with handle_of(record) as handle:
        assert handle.opened.sound_is_memoryless
    assert arrays[4].shape == (4200, 1)
    assert arrays[4].any()


def test_a_part_of_a_file_ends_where_the_record_does(clips, tmp_path, monkeypatch):
    record = Record("a", 0, clips[1], start_seconds=0.5, end_seconds=1.0)
    view = VideoView(frames=8, fps=8.0, size=28)
    video, audio = same_everywhere(record, [(view, 0.0), (AUDIO, 0.0)], tmp_path, monkeypatch)
    file = Record("b", 0, clips[1])
    whole = same_everywhere(file, [(view, 0.5)], tmp_path / "file", monkeypatch)[0]
    np.testing.assert_array_equal(video[:4], whole[:4])
    # Four frames lie in the half second; the last of them stays.
    for frame in video[4:]:
        np.testing.assert_array_equal(frame, whole[3])
    assert audio[:3000].any()
    assert not audio[3000:].any()


def test_a_part_that_begins_late_in_its_file_is_kept():
    """No frame was shown before it that it could have come too long after."""
    pixels = np.random.default_rng(0).integers(0, 256, (4 * 70, 16, 16, 3), dtype=np.uint8)
    record = Record(
        "a", 0, encode_clip(pixels, 4, None, 8000), start_seconds=64.0, end_seconds=69.0
    )
    cache = MemoryCache(10**8)
    for start in (0.0, 2.0):
        with handle_of(record) as handle:
            Decoder(cache).frames(handle, VIDEO, start)
    assert cache.used_bytes > 0


def test_what_is_known_of_a_kept_record_needs_no_second_reading(clips):
    record = Record("a", 0, clips[0], duration_seconds=2.0, has_video=True, has_audio=True,
                    truth={"objects": []})  # fmt: skip
    source = OneRecord(record)
    facts = Facts(source, Limits())
    for num_reads in (1, 2, 2):
        with Handle(facts, 0) as handle:
            assert handle.truth is handle.truth is record.truth
        assert source.num_reads == num_reads


def test_sound_is_the_same_from_a_decoder_that_carries_noise(tmp_path, monkeypatch):
    record = Record("a", 0, noisy_clip())
    view = AudioView(seconds=1.5, rate=8000)
    same_everywhere(record, [(view, s) for s in (0.0, 0.8, 2.0, 3.3, 5.2)], tmp_path, monkeypatch)
    with handle_of(record) as handle:
        assert not handle.opened.sound_is_memoryless
    # The trap that the segments are there for: entered elsewhere, this stream gives other samples.
    options = {"rate": 8000, "channels": 1}
    whole = decode_audio(record.media, start_seconds=0.0, seconds=5.0, **options)
    part = decode_audio(record.media, start_seconds=3.3, seconds=1.5, **options)
    assert (whole[26400:38400] != part).any()


def test_a_record_may_start_between_two_samples(clips, tmp_path, monkeypatch):
    record = Record("a", 0, clips[2], start_seconds=0.25 + 0.5 / AUDIO.rate)
    starts = np.arange(6) / AUDIO.rate
    windows = same_everywhere(record, [(AUDIO, s) for s in starts], tmp_path, monkeypatch)
    for earlier, later in itertools.pairwise(windows):
        np.testing.assert_array_equal(earlier[1:], later[:-1])


def test_a_kept_record_is_not_read_again(clips):
    source = OneRecord(Record("a", 0, clips[0]))
    facts = Facts(source, Limits())
    decoder = Decoder(MemoryCache(10**8))
    for _ in range(3):
        with Handle(facts, 0) as handle:
            decoder.frames(handle, VIDEO, 0.1)
            decoder.audio(handle, AUDIO, 0.1)
    assert source.num_reads == 1


def test_damage_outside_the_window_does_not_show_with_a_cache_either(clips, monkeypatch):
    def fail(*_, **__):
        raise MediaError("damaged near 1.9 s")

    monkeypatch.setattr(decoded, "whole_frames", fail)
    decoder = Decoder(MemoryCache(10**8))
    for _ in range(2):
        with handle_of(Record("a", 0, clips[0])) as handle:
            pixels, _ = decoder.frames(handle, VIDEO, 0.0)
            assert pixels.shape == (3, 32, 40, 3)
    assert decoder.cache.used_bytes == 0


def growing_clip():
    """Raw frames that are larger from the second second on, in the one container that allows it."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mpegts") as container:
        stream = container.add_stream("mpeg2video", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        larger = av.CodecContext.create("mpeg2video", "w")
        larger.width, larger.height, larger.pix_fmt = 96, 48, "yuv420p"
        larger.time_base, larger.framerate = Fraction(1, 25), Fraction(25)
        for first, encoder in ((0, stream), (25, larger)):
            packets = []
            for number in range(first, first + 25):
                pixels = np.full((48, encoder.width, 3), 4 * number, np.uint8)
                frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
                frame.pts, frame.time_base = number, Fraction(1, 25)
                packets += encoder.encode(frame)
            for packet in [*packets, *encoder.encode(None)]:
                packet.stream = stream
                container.mux(packet)
    return buffer.getvalue()


def test_frames_that_change_their_size_are_the_same_with_every_cache(tmp_path, monkeypatch):
    record = Record("a", 0, growing_clip(), duration_seconds=2.0, has_video=True, has_audio=False)
    windows = [(VIDEO, 0.0), (VIDEO, 1.2)]
    small, large = same_everywhere(record, windows, tmp_path, monkeypatch)
    assert small.shape[2] < large.shape[2]


# Of damaged bytes: lost references, data that does not decode, a timestamp of three hours.
@pytest.mark.parametrize(
    ("codec", "seed"), [("libx264", 6), ("mpeg2video", 25), ("mpeg2video", 43)]
)
def test_tolerated_damage_is_the_same_with_every_cache(codec, seed, tmp_path, monkeypatch):
    frames = np.random.default_rng(0).integers(0, 256, (60, 6, 8, 3), dtype=np.uint8)
    media = make_media("mpegts", frames=frames.repeat(8, 1).repeat(8, 2), video_codec=codec)
    record = Record("a", 0, flipped(media, 0.0005, seed), 0.0, 2.4, 2.4, True, False)
    with handle_of(record) as handle:
        decoded.whole_frames(handle, VIDEO)
        assert handle.opened.is_irregular
    windows = [(VIDEO, start) for start in (0.3, 0.8, 0.9, 1.0, 1.1)]
    same_everywhere(record, windows, tmp_path, monkeypatch)


def test_long_sound_that_is_found_by_counting_is_not_kept(monkeypatch):
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp3") as container:
        stream = container.add_stream("libmp3lame", rate=16000, layout="mono")
        samples = np.random.default_rng(0).integers(-9999, 9999, (1, 6 * 16000)).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(samples, "s16", "mono")
        frame.sample_rate, frame.pts = 16000, 0
        container.mux(stream.encode(frame) + stream.encode(None))
    record = Record("a", 0, buffer.getvalue())
    for limit, is_kept in ((7, True), (5, False)):
        monkeypatch.setattr(decoded, "MAX_COUNTED_SECONDS", limit)
        decoder = Decoder(MemoryCache(10**8))
        with handle_of(record) as handle:
            decoder.audio(handle, AUDIO, 1.0)
        assert (decoder.cache.used_bytes > 0) == is_kept


def test_all_that_is_read_of_a_record_shares_one_clock(clips, monkeypatch):
    """Also where every segment of the sound opens the file again."""
    now = itertools.count(0.0, 0.02)
    monkeypatch.setattr(time, "thread_time", lambda: next(now))
    facts = Facts(OneRecord(Record("a", 0, noisy_clip())), Limits(max_decode_seconds=3.0))

    def read_often(handle):
        for _ in range(20):
            samples_between(handle, 0, 6000, 6000, 1)

    with Handle(facts, 0) as handle:
        samples_between(handle, 0, 6000, 6000, 1)
        with pytest.raises(MediaError, match="more than 3 s"):
            read_often(handle)
    # What a cache needs beyond the window is not taken from the window's time.
    with Handle(facts, 0) as handle:
        with handle.again() as whole, pytest.raises(MediaError, match=r"more than 1\.5 s"):
            read_often(whole)
        handle.clock.check()


def test_frames_are_cropped_alike_resized_and_mirrored():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 32, 40, 3), dtype=np.uint8)
    out = np.zeros((2, 16, 16, 3), np.uint8)
    crop_frames(pixels, np.array([3, 1]), Crop(4, 2, 20, 25, flip=True), 16, out)
    for number, frame in zip((3, 1), out, strict=True):
        image = Image.fromarray(pixels[number]).crop((4, 2, 24, 27))
        expected = np.asarray(image.resize((16, 16), Image.Resampling.BILINEAR))[:, ::-1]
        np.testing.assert_array_equal(frame, expected)
    crop_frames(pixels, np.array([0, 0]), Crop(12, 8, 16, 16, flip=False), 16, out)
    np.testing.assert_array_equal(out[1], pixels[0, 8:24, 12:28])


def test_a_cache_stops_at_its_budget_and_says_so_once(capsys):
    cache = MemoryCache(2500)
    kilobyte = (np.zeros(1000, np.uint8),)
    for index in range(5):
        cache.put(index, "frames-32", kilobyte, seconds=1.0)
        cache.has_room("frames-32", 1.0, 0.0)
    assert cache.used_bytes == 2000
    held = [cache.get(index, "frames-32", 1) is not None for index in range(5)]
    assert held == [True, True, False, False, False]
    said = capsys.readouterr().err
    assert said.count("data.cache") == said.count("data.cache_gigabytes") + 2
    assert said.count("\n") == 1


def test_room_is_judged_by_what_a_second_took_so_far():
    cache = MemoryCache(10_000)
    assert not cache.has_room("frames-32", 1.0, 20_000.0)
    cache.put(0, "frames-32", (np.zeros(1000, np.uint8),), seconds=2.0)
    assert cache.has_room("frames-32", 10.0, 20_000.0)
    assert not cache.has_room("frames-32", 19.0, 20_000.0)


def test_a_record_put_twice_is_counted_once():
    cache = MemoryCache(10_000)
    for _ in range(2):
        cache.put(0, "audio", (np.zeros(100, np.uint8),), seconds=1.0)
    assert cache.used_bytes == 100


def test_processes_share_the_budget(tmp_path, monkeypatch):
    monkeypatch.setenv("AVSSL_CACHE", str(tmp_path))
    assert make_cache("memory", 1.0, "", 4).budget_bytes == 250_000_000
    first = make_cache("disk", 1e-5, "a" * 32, 1)
    first.put(0, "audio", (np.zeros(4000, np.uint8),), seconds=1.0)
    size = sum(path.stat().st_size for path in tmp_path.rglob("*.npy"))
    assert size > 4000
    # Another data set's cache counts against the same folder.
    assert make_cache("disk", 1e-5, "b" * 32, 2).budget_bytes == (10_000 - size) // 2
    with pytest.raises(UsageError, match="did you mean 'memory'"):
        make_cache("memry", 1.0, "")


def test_the_disk_cache_outlives_the_process_and_replaces_what_is_damaged(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("AVSSL_CACHE", str(tmp_path))
    arrays = np.arange(6).reshape(2, 3), np.arange(2.0)
    DiskCache(10**6, "a" * 32).put(7, "frames-32", arrays, seconds=1.0)
    again = DiskCache(10**6, "a" * 32)
    for expected, array in zip(arrays, again.get(7, "frames-32", 2), strict=True):
        np.testing.assert_array_equal(array, expected)
    assert again.get(8, "frames-32", 2) is None
    assert DiskCache(10**6, "b" * 32).get(7, "frames-32", 2) is None
    file = next(tmp_path.rglob("*.0.npy"))
    file.write_bytes(file.read_bytes()[:-5])
    assert again.get(7, "frames-32", 2) is None
    assert "damaged" in capsys.readouterr().err
    again.put(7, "frames-32", arrays, seconds=1.0)
    np.testing.assert_array_equal(again.get(7, "frames-32", 2)[0], arrays[0])


def test_the_disk_cache_unpickles_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("AVSSL_CACHE", str(tmp_path))
    cache = DiskCache(10**6, "a" * 32)
    cache.put(0, "audio", (np.arange(3),), seconds=1.0)
    np.save(next(tmp_path.rglob("*.npy")), np.array([{"a": 1}], object), allow_pickle=True)
    assert cache.get(0, "audio", 1) is None


def test_a_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("AVSSL_CACHE", str(tmp_path / "file"))
    with pytest.raises(UsageError, match="AVSSL_CACHE"):
        DiskCache(10**6, "a" * 32)


def test_a_full_disk_ends_the_cache_and_not_the_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("AVSSL_CACHE", str(tmp_path))
    cache = DiskCache(10**6, "a" * 32)

    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("avssl.data.kept.write_whole", full)
    cache.put(0, "audio", (np.arange(3),), seconds=1.0)
    assert "No space left on device" in capsys.readouterr().err
    assert not cache.has_room("audio", 1.0, 1.0)
    assert cache.get(0, "audio", 1) is None
