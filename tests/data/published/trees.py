"""Small copies of the layouts of published data sets, with real media of a few frames."""

import functools
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from avssl.data.open import open_source
from avssl.data.record import class_sets
from avssl.media.decode import decode_clip
from tests.media.make_media import clicks, make_media, numbered_frames

FPS = 4
AUDIO_RATE = 8000
CLICK_SECONDS = 0.25


@functools.cache
def video(number: int = 5, seconds: float = 1.0) -> bytes:
    """Its frames show `number`, its sound clicks once."""
    frames = numbered_frames([number] * round(seconds * FPS))
    audio = clicks([CLICK_SECONDS], seconds, AUDIO_RATE)
    return make_media(frames=frames, fps=FPS, gop=2, b_frames=0, audio=audio, audio_rate=AUDIO_RATE)


@functools.cache
def sound(seconds: float = 1.0, channels: int = 1) -> bytes:
    audio = clicks([CLICK_SECONDS], seconds, AUDIO_RATE, channels)
    return make_media("wav", audio=audio, audio_rate=AUDIO_RATE, audio_codec="pcm_s16le")


def plant(root: Path, files: Mapping[str, str | bytes]) -> Path:
    """Writes the files below the root."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def keys(source) -> list[str]:
    return [source.key(index) for index in range(len(source))]


def classes(source) -> list[str]:
    """The class of each record by name."""
    return [source.label_names[label] for label in source.labels()]


def opened(kind: str, root: Path, split: str | None = None):
    return open_source(f"{kind}:{root}" + (f"@{split}" if split else ""))


def decoded(record, seconds: float = 0.5):
    """What the pipeline would see of a record at its start."""
    return decode_clip(
        record.media,
        start_seconds=record.start_seconds,
        num_frames=2,
        fps=FPS,
        short_side=48,
        audio_seconds=seconds,
        audio_rate=AUDIO_RATE,
        audio_channels=1,
    )


def rows(*lines: str) -> str:
    return "\n".join(lines) + "\n"


def sets_of(source) -> list[set[str]]:
    """The classes of each record by name."""
    matrix = class_sets(source, np.arange(len(source)))
    return [{source.label_names[place] for place in np.flatnonzero(row)} for row in matrix]
