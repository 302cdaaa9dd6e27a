"""What tests of the pipeline share: views of small clips, and batches to compare."""

import numpy as np

from avssl.data.views import AudioView, VideoView

VIDEO = VideoView(frames=2, fps=8.0, size=16, jitter_seconds=0.1)
AUDIO = AudioView(seconds=0.5, rate=4000)
VIEWS = {"video": VIDEO, "audio": AUDIO}
BATCH = 8


def take(pipeline, count, start=0):
    with pipeline.batches(start) as batches:
        return [next(batches) for _ in range(count)]


def leaves(tree, path=""):
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from leaves(value, f"{path}/{key}")
    else:
        yield path, tree


def assert_same(expected, batches):
    assert len(expected) == len(batches)
    for one, other in zip(expected, batches, strict=True):
        one, other = dict(leaves(one)), dict(leaves(other))
        assert one.keys() == other.keys()
        for path, array in one.items():
            np.testing.assert_array_equal(array, other[path], err_msg=path)
            assert array.dtype == other[path].dtype
