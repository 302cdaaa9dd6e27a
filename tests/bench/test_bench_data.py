"""The bench times the windows that the pipeline reads, and others that read the same ones."""

import os
import sys

import numpy as np
import pytest

from avssl.bench.bare import bare_clip
from avssl.bench.data import NUM_ROUNDS, bench_data, measure
from avssl.bench.windows import first_windows
from avssl.data.decoded import Decoder
from avssl.data.handle import Facts, Handle
from avssl.data.joined import Join
from avssl.data.kept import Cache
from avssl.data.open import open_source
from avssl.data.pipeline import Pipeline
from avssl.data.views import AudioView, VideoView
from avssl.errors import UsageError
from avssl.evaluate.results import commit, machine
from avssl.media.encode import encode_clip
from avssl.media.limits import Limits

VIEWS = {"video": VideoView(frames=3, fps=6.0, size=28), "audio": AudioView(seconds=0.5, rate=8000)}
FORMATS = ("h264", "jpeg", "raw")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Four noisy clips of each format."""
    root = tmp_path_factory.mktemp("clips")
    for number in range(12):
        draws = np.random.default_rng(number)
        frames = draws.integers(0, 256, (16, 4, 5, 3), dtype=np.uint8)
        frames = frames.repeat(8, axis=1).repeat(8, axis=2)
        samples = draws.integers(-8000, 8000, (16000, 1)).astype(np.int16)
        name = FORMATS[number % 3]
        media = encode_clip(frames, 8, samples, 8000, gop=4, video_format=name)
        (root / f"{number:02d}.mp4").write_bytes(media)
    return root


def test_the_bare_loop_reads_the_windows_of_the_pipeline(folder):
    source, decoder = open_source(f"folder:{folder}"), Decoder(Cache())
    facts = Facts(source, Limits())
    for index, start in enumerate((0.0, 0.3, 0.77, 1.4)):
        with Handle(facts, index) as handle:
            samples = decoder.audio(handle, VIEWS["audio"], start)
            pixels, _ = decoder.frames(handle, VIEWS["video"], start)
        starts = ((VIEWS["audio"], start), (VIEWS["video"], start))
        bare_samples, bare_pixels = bare_clip(source[index].media, starts)
        np.testing.assert_array_equal(bare_pixels, pixels)
        # White noise, so one sample off would give 0; the bare loop spoils its first frame after a
        # seek.
        assert np.corrcoef(bare_samples[:, 0], samples[:, 0])[0, 1] > 0.9


def test_the_bench_says_how_fast_each_part_is(folder, tmp_path):
    for path in folder.iterdir():
        os.link(path, tmp_path / path.name)
    (tmp_path / "broken.mp4").write_bytes(b"no media" * 100)
    measured = measure(f"folder:{tmp_path}", VIEWS, num_clips=16, batch_size=8, workers=(0,))
    assert measured["clips"] == 16
    assert measured["format"] == "h264+aac,mjpeg+aac,rawvideo+pcm_s16le"
    sizes = [path.stat().st_size for path in folder.iterdir()]
    assert min(sizes) < measured["bytes_per_clip"] < max(sizes)
    parts = measured["ms_decode"] + measured["ms_other"]
    assert np.isclose(parts, 1e3 / measured["clips_per_second_per_core"])
    share = measured["clips_per_second_per_core"] / measured["bare_clips_per_second_per_core"]
    assert np.isclose(share, measured["share_of_bare_loop"])
    assert measured["workers_0_clips_per_second"] > 0
    spec, file = f"folder:{tmp_path}", tmp_path.with_suffix(".md")
    *lines, last = bench_data(spec, VIEWS, results=file, name="a.py", num_clips=8, workers=(0,))
    assert [line.split()[0] for line in lines] == list(measured)
    assert last == f"wrote the section 'Reading {spec} for a.py' of {file}"
    written = file.read_text()
    assert f"- commit {commit()}\n- {machine()}\n" in written
    for line in lines:
        assert f"| {line.replace(' ', ' | ', 1)} |" in written


class Said:
    """A store that has something of each record, and counts how often it is asked."""

    every_seconds = 0.0

    def __init__(self):
        self.asked = []

    def num_windows(self, index):
        return 1

    def is_gap(self, index):
        return False

    def read(self, index, window, key, kinds):
        self.asked.append(index)
        return {kind: np.full(4, index, np.float32) for kind in kinds}


def test_targets_are_joined_in_a_pipeline_of_its_own(folder):
    store = Said()
    joins = {"teacher": Join(store, {"logits": (4,)})}
    arguments = dict(num_clips=8, batch_size=4)
    measured = measure(f"folder:{folder}", VIEWS, joins=lambda source: joins, **arguments)
    assert measured["clips_per_second_per_core_with_targets"] > 0
    # Every clip of every round, and none of the other loops.
    assert len(store.asked) == NUM_ROUNDS * measured["clips"]
    without = measure(f"folder:{folder}", VIEWS, joins=lambda source: {}, **arguments)
    assert measured.keys() - without.keys() == {"clips_per_second_per_core_with_targets"}


def test_the_loader_of_pytorch_reads_what_the_pipeline_reads(folder):
    pytest.importorskip("torch", reason="needs the extra `torch`")
    from avssl.bench.torch_data import torch_loader

    source = open_source(f"folder:{folder}")
    pipeline = Pipeline(source, VIEWS, batch_size=6, seed=3)
    windows = first_windows(pipeline, 2)
    loader = torch_loader(source, VIEWS, windows, num_batches=3, batch_size=6, seed=3)
    theirs = [{name: array.numpy() for name, array in batch.items()} for batch in loader]
    with pipeline.batches(stop_step=2) as batches:
        for ours, batch in zip(batches, theirs[:2], strict=True):
            np.testing.assert_array_equal(batch[repr(VIEWS["video"])], ours["views"]["video"])
            assert batch[repr(VIEWS["audio"])].shape == ours["views"]["audio"].shape
    # Past the last window comes the first again.
    np.testing.assert_array_equal(
        *(batch[repr(VIEWS["video"])] for batch in (theirs[0], theirs[2]))
    )
    measured = measure(f"folder:{folder}", VIEWS, num_clips=12, batch_size=6, versus="torch")
    ratio = measured["clips_per_second_per_core"] / measured["torch_clips_per_second_per_core"]
    assert np.isclose(ratio, measured["times_torch"])
    several = {**VIEWS, "video": VideoView(frames=2, size=28, windows=2)}
    with pytest.raises(UsageError, match="one flat window a view; view 'video' has others"):
        measure(f"folder:{folder}", several, num_clips=12, versus="torch")


def test_records_without_what_the_views_show_are_refused(tmp_path):
    frames = np.zeros((16, 32, 40, 3), np.uint8)
    (tmp_path / "silent.mp4").write_bytes(encode_clip(frames, 8, None, 8000))
    with pytest.raises(UsageError, match="none of its records has what the views show"):
        measure(f"folder:{tmp_path}", {"audio": VIEWS["audio"]}, num_clips=1)


def test_a_missing_pytorch_is_said(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "avssl.bench.torch_data", raising=False)
    with pytest.raises(UsageError, match=r"needs PyTorch: pip install 'avssl\[torch\]'"):
        measure(f"folder:{folder}", VIEWS, num_clips=12, versus="torch")
