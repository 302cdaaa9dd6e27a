"""Small clips and a source that holds them."""

import cloudpickle
import numpy as np
import pytest

from avssl.data.record import Record
from avssl.media.encode import encode_clip

CLIP_SECONDS = 2
CLIP_FPS = 8
AUDIO_RATE = 8000


def make_clip(seed, *, video=True, audio=True, seconds=CLIP_SECONDS):
    draws = np.random.default_rng(seed)
    frames = samples = None
    if video:
        frames = draws.integers(0, 256, (seconds * CLIP_FPS, 4, 5, 3), dtype=np.uint8)
        frames = frames.repeat(8, axis=1).repeat(8, axis=2)
    if audio:
        samples = draws.integers(-8000, 8000, (seconds * AUDIO_RATE, 1)).astype(np.int16)
    return encode_clip(frames, CLIP_FPS, samples, AUDIO_RATE, gop=4)


class ListSource:
    """Records from a list of media; None in the list is a record whose media is damaged."""

    def __init__(self, media, *, spec="list", known=True, **facts):
        self.spec = spec
        self.label_names = ("even", "odd")
        self.media = media
        self.facts = facts
        if known:
            self.facts = {"duration_seconds": float(CLIP_SECONDS), "has_video": True,
                          "has_audio": True, **facts}  # fmt: skip

    @property
    def fingerprint(self):
        return f"{hash(tuple(self.media)):064x}"

    def __len__(self):
        return len(self.media)

    def __getitem__(self, index):
        media = self.media[index] or b"this is no media"
        return Record(self.key(index), index, media, label=index % 2, **self.facts)

    def key(self, index):
        return f"{self.spec}/{index}"

    def labels(self):
        return np.arange(len(self), dtype=np.int32) % 2

    def modalities(self):
        if self.facts.get("has_video") is None:
            return None
        return tuple(np.full(len(self), self.facts[key]) for key in ("has_video", "has_audio"))


@pytest.fixture(scope="session")
def list_source():
    """The class, such that worker processes can unpickle it without these tests on their path."""
    import sys

    module = sys.modules[ListSource.__module__]
    cloudpickle.register_pickle_by_value(module)
    yield ListSource
    cloudpickle.unregister_pickle_by_value(module)


@pytest.fixture(scope="session")
def clips():
    """Twelve different clips with video and audio."""
    return [make_clip(seed) for seed in range(12)]


@pytest.fixture(scope="session")
def clip_of():
    """The maker of clips."""
    return make_clip


@pytest.fixture(scope="module")
def damaged_source(list_source, clips):
    """Its sixth record is no media."""
    media = list(clips)
    media[5] = None
    return list_source(media)
