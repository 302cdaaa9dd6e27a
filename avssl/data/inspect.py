"""`avssl data inspect`: what is in there? A table, a contact sheet and spectrograms."""

import collections
import dataclasses
import io
import statistics
from collections.abc import Sequence

import numpy as np
from etils import epath

from avssl.data.cache import write_whole
from avssl.data.keys import printable
from avssl.data.open import open_source
from avssl.data.pictures import contact_sheet, spectrogram_sheet
from avssl.data.record import Source
from avssl.data.span import span_in_file
from avssl.data.storage import told_plainly
from avssl.errors import UsageError
from avssl.media.decode import decode_audio, decode_frames, select_frames
from avssl.media.limits import DEFAULT_LIMITS
from avssl.media.probe import Probe, probe
from avssl.media.sandbox import ChildPool, Failure

FRAMES_PER_CLIP = 4
MAX_SECONDS = 10.0
SHORT_SIDE = 112
AUDIO_RATE = 16000
MAX_CLASSES_SHOWN = 20
CHILD_MEMORY_BYTES = 1536 << 20


@dataclasses.dataclass(frozen=True)
class Glimpse:
    """What was seen of one record."""

    facts: Probe
    seconds: float
    frames: dict[str, np.ndarray]  # uint8 [n, h, w, 3] by the video stream ("": the default one)
    samples: np.ndarray | None  # int16 [n]


@dataclasses.dataclass(frozen=True)
class Inspection:
    """The table as text, and where the pictures lie."""

    table: str
    contact_sheet: str
    spectrogram: str


@dataclasses.dataclass(frozen=True)
class Looker:
    """Looks at the first seconds of record number `index`, in a child process."""

    source: Source

    def __call__(self, index: int) -> Glimpse:
        record = self.source[index]
        facts = probe(record.media)
        start, end = span_in_file(record, facts.duration_seconds)
        seconds = end - start
        shown = min(seconds, MAX_SECONDS)
        frames, samples = {}, None
        for stream in ("", *facts.video_streams) if facts.has_video else ():
            decoded = decode_frames(
                record.media,
                start_seconds=start,
                end_seconds=start + shown,
                short_side=SHORT_SIDE,
                stream=stream,
            )
            wanted = start + (np.arange(FRAMES_PER_CLIP) + 0.5) * shown / FRAMES_PER_CLIP
            frames[stream] = decoded.pixels[select_frames(decoded.times, wanted)]
        if facts.has_audio:
            samples = decode_audio(
                record.media,
                start_seconds=start,
                seconds=shown,
                rate=AUDIO_RATE,
                channels=1,
            )[:, 0]
        return Glimpse(facts, seconds, frames, samples)


def inspect(spec: str, out: str, num: int = 16, *, allow_outside: bool = False) -> Inspection:
    """Looks at `num` evenly spread records; writes contact_sheet.png and spectrogram.png."""
    if num < 1:
        raise UsageError(f"--num is {num}; it must be at least 1")
    source = open_source(spec, allow_outside=allow_outside)
    chosen = np.unique(np.linspace(0, len(source) - 1, min(num, len(source))).astype(int)).tolist()
    pool = ChildPool(
        1,
        Looker(source),
        timeout_seconds=3 * DEFAULT_LIMITS.max_decode_seconds,
        memory_bytes=CHILD_MEMORY_BYTES,
    )
    with pool:
        seen = dict(pool.map(chosen))
    outcomes = [(index, seen[index]) for index in chosen]
    folder = epath.Path(out).expanduser()
    paths = folder / "contact_sheet.png", folder / "spectrogram.png"
    captions = [_caption(source, index, outcome) for index, outcome in outcomes]
    glimpses = [None if isinstance(outcome, Failure) else outcome for _, outcome in outcomes]
    strips = [
        (f"{caption} {stream}".rstrip(), frames)
        for caption, glimpse in zip(captions, glimpses, strict=True)
        for stream, frames in ((glimpse and glimpse.frames) or {"": None}).items()
    ]
    num_streams = max(len(glimpse.frames) if glimpse else 1 for glimpse in glimpses)
    sound = [None if glimpse is None else glimpse.samples for glimpse in glimpses]
    pictures = (
        contact_sheet(strips, columns=max(2, num_streams)),
        spectrogram_sheet(list(zip(captions, sound, strict=True)), AUDIO_RATE),
    )
    with told_plainly(out, lambda: 2**20):
        for path, picture in zip(paths, pictures, strict=True):
            buffer = io.BytesIO()
            picture.save(buffer, "png")
            write_whole(path, buffer.getvalue())
    return Inspection(_table(source, outcomes), str(paths[0]), str(paths[1]))


def _caption(source: Source, index: int, outcome: Glimpse | Failure) -> str:
    label = int(source.labels()[index])
    name = f" [{source.label_names[label]}]" if label >= 0 and source.label_names else ""
    why = f" BAD: {outcome.reason}" if isinstance(outcome, Failure) else ""
    return source.key(index) + name + why


def _table(source: Source, outcomes: Sequence[tuple[int, Glimpse | Failure]]) -> str:
    glimpses = [outcome for _, outcome in outcomes if not isinstance(outcome, Failure)]
    bad = [(index, outcome) for index, outcome in outcomes if isinstance(outcome, Failure)]
    rows = [("records", str(len(source))), ("classes", _classes(source))]
    if known := source.modalities():
        video, audio = known
        of, both = "all", int((video & audio).sum())
        only = int((video & ~audio).sum()), int((audio & ~video).sum())
    else:
        of = f"the {len(glimpses)} opened"
        kinds = collections.Counter((g.facts.has_video, g.facts.has_audio) for g in glimpses)
        both, only = kinds[True, True], (kinds[True, False], kinds[False, True])
    rows.append((f"modalities of {of}", f"both {both}, video only {only[0]}, audio only {only[1]}"))
    facts = [glimpse.facts for glimpse in glimpses]
    videos = [fact for fact in facts if fact.has_video]
    sounds = [fact for fact in facts if fact.has_audio]
    codecs = (f"{fact.video_codec or '-'}/{fact.audio_codec or '-'}" for fact in facts)
    rows += [
        ("seconds", _spread([glimpse.seconds for glimpse in glimpses])),
        ("width x height", _common(f"{fact.width}x{fact.height}" for fact in videos)),
        ("frames a second", _spread([fact.fps for fact in videos])),
        ("video streams", _common(name for fact in videos for name in fact.video_streams)),
        ("audio", _common(f"{fact.audio_rate} Hz x {fact.audio_channels}" for fact in sounds)),
        ("codecs", _common(codecs)),
    ]
    rows += [("bad", f"{printable(source.key(i))}: {printable(f.reason)}") for i, f in bad]
    skipped = getattr(source, "skipped", ())
    rows += [("left out", f"{printable(key)}: {why}") for key, why in skipped[:10]]
    if len(skipped) > 10:
        rows.append(("left out", f"and {len(skipped) - 10} more"))
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def _classes(source: Source) -> str:
    labels = source.labels()
    if not source.label_names:
        return "none"
    counts = np.bincount(labels[labels >= 0], minlength=len(source.label_names))
    shown = [
        f"{printable(name)} {count}" for name, count in zip(source.label_names, counts, strict=True)
    ]
    more = f", and {len(shown) - MAX_CLASSES_SHOWN} more" if len(shown) > MAX_CLASSES_SHOWN else ""
    unlabelled = f"; without label {(labels < 0).sum()}" if (labels < 0).any() else ""
    return f"{len(shown)}: {', '.join(shown[:MAX_CLASSES_SHOWN])}{more}{unlabelled}"


def _spread(values: Sequence[float]) -> str:
    if not values:
        return "-"
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}, median {middle:.3g}"


def _common(values) -> str:
    counts = collections.Counter(values).most_common(3)
    return ", ".join(f"{printable(value)} ({count})" for value, count in counts) or "-"
