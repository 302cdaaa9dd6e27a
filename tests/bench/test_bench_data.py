"""The bench times the windows that the pipeline reads, and a bare loop that reads the same ones."""

import numpy as np

from avssl.data.bench import bare_clip, bench_data, measure
from avssl.data.decoded import Decoder
from avssl.data.handle import Facts, Handle
from avssl.data.kept import Cache
from avssl.data.views import AudioView, VideoView
from avssl.media.limits import Limits

VIEWS = {"video": VideoView(frames=3, fps=6.0, size=28), "audio": AudioView(seconds=0.5, rate=8000)}


def test_the_bare_loop_reads_the_windows_of_the_pipeline(list_source, clips):
    facts, decoder = Facts(list_source(clips), Limits()), Decoder(Cache())
    for index, start in enumerate((0.0, 0.3, 0.77, 1.4)):
        with Handle(facts, index) as handle:
            samples = decoder.audio(handle, VIEWS["audio"], start)
            pixels, _ = decoder.frames(handle, VIEWS["video"], start)
        starts = ((VIEWS["audio"], start), (VIEWS["video"], start))
        bare_samples, bare_pixels = bare_clip(clips[index], starts)
        np.testing.assert_array_equal(bare_pixels, pixels)
        # White noise, so one sample off would give 0; the bare loop spoils its first frame after a
        # seek.
        assert np.corrcoef(bare_samples[:, 0], samples[:, 0])[0, 1] > 0.9


def test_the_bench_says_how_fast_each_part_is(tmp_path, clips):
    for number, clip in enumerate(clips):
        (tmp_path / f"{number}.mp4").write_bytes(clip)
    (tmp_path / "broken.mp4").write_bytes(b"no media" * 100)
    measured = measure(f"folder:{tmp_path}", VIEWS, num_clips=16, batch_size=8)
    assert measured["clips"] == 16
    parts = measured["ms_decode"] + measured["ms_other"]
    assert np.isclose(parts, 1e3 / measured["clips_per_second_per_core"])
    share = measured["clips_per_second_per_core"] / measured["bare_clips_per_second_per_core"]
    assert np.isclose(share, measured["share_of_bare_loop"])
    lines = bench_data(f"folder:{tmp_path}", VIEWS, num_clips=8)
    assert [line.split()[0] for line in lines] == list(measured)
