"""`avssl data build`: any source becomes a TFDS data set of small clips that decode quickly."""

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from tqdm import tqdm

from avssl.data.deadline import killed_after, reason_of
from avssl.data.keys import printable
from avssl.data.open import open_checked
from avssl.data.record import Record, Source
from avssl.data.records import StoredRecord
from avssl.data.shard_writer import default_num_shards
from avssl.data.span import span_in_file
from avssl.data.store import FIRST_SETTINGS, REPORT, Dropped, StoreWriter
from avssl.errors import UsageError, unknown
from avssl.media.encode import AAC_RATES
from avssl.media.errors import MediaError
from avssl.media.formats import VIDEO_FORMATS
from avssl.media.limits import DEFAULT_LIMITS, Limits
from avssl.media.probe import Probe, probe
from avssl.media.sandbox import ChildPool, Failure
from avssl.media.transcode import transcode
from avssl.media.video import MAX_FPS

MODALITIES = ("audio", "video")
SPLIT = "train"
CHILD_MEMORY_BYTES = 1536 << 20
# Decoding at half the speed of playing: a file that is slower than that on one core is refused.
SECONDS_PER_SECOND, MAX_SECONDS = 2.0, 1800.0
GRACE_SECONDS = 2.0


@dataclasses.dataclass(frozen=True)
class BuildReport:
    """What a build kept and what it did not; the same is in OUT/build_report.json."""

    out: str
    source: str
    kept: int
    dropped: tuple[tuple[str, str], ...]  # (key, reason)
    without_audio: int
    without_video: int
    num_bytes: int
    video_format: str
    already_complete: bool

    def summary(self, *, max_names: int = 1000) -> str:
        """For a person: what was kept, and every dropped record with its reason."""
        done = "was complete already" if self.already_complete else "is complete"
        lines = [
            f"{printable(self.out)} {done}: {self.kept} records from {printable(self.source)}, "
            f"{self.num_bytes / 2**20:.1f} MiB of {self.video_format}, "
            f"{self.num_bytes // self.kept} bytes a clip; without audio {self.without_audio}, "
            f"without video {self.without_video}; dropped {len(self.dropped)}"
        ]
        lines += [
            f"  dropped {printable(key)}: {printable(reason)}"
            for key, reason in self.dropped[:max_names]
        ]
        if (more := len(self.dropped) - max_names) > 0:
            lines.append(f"  and {more} more, all named in {printable(self.out)}/{REPORT}")
        return "\n".join(lines)


@dataclasses.dataclass(frozen=True)
class Examiner:
    """First look at record number `index`, and its new encoding; called in a child process."""

    source: Source
    short_side: int
    options: Mapping[str, Any]  # of `transcode`
    require: tuple[str, ...]
    limits: Limits
    transcode: Callable[..., bytes]

    def __call__(self, index: int) -> StoredRecord:
        with killed_after(self.limits.max_decode_seconds + GRACE_SECONDS):
            record = self.source[index]
            found = probe(record.media, self.limits)
        self._require(found.has_video, found.has_audio)
        span_in_file(record, found.duration_seconds)
        patience = max(
            self.limits.max_decode_seconds,
            min(SECONDS_PER_SECOND * found.duration_seconds, MAX_SECONDS),
        )
        with killed_after(patience + GRACE_SECONDS):
            return self._encode(record, found, patience)

    def _encode(self, record: Record, found: Probe, patience: float) -> StoredRecord:
        short_side = self.short_side
        if found.has_video:
            # Pixels that are not there are not invented: small videos stay as they are.
            short_side = min(short_side, found.width, found.height)
        media = self.transcode(
            record.media,
            start_seconds=record.start_seconds,
            end_seconds=record.end_seconds,
            short_side=short_side,
            **self.options,
            limits=dataclasses.replace(self.limits, max_decode_seconds=patience),
        )
        # What counts is what was written: a track can be announced and hold nothing.
        written = probe(media, self.limits)
        self._require(written.has_video, written.has_audio)
        return StoredRecord(
            key=record.key,
            media=media,
            label=record.label,
            duration_seconds=written.duration_seconds,
            has_video=written.has_video,
            has_audio=written.has_audio,
            truth=record.truth,
        )

    def _require(self, has_video: bool, has_audio: bool) -> None:
        if not has_video and not has_audio:
            raise MediaError("neither video nor audio in it")
        for name, has in (("audio", has_audio), ("video", has_video)):
            if name in self.require and not has:
                raise MediaError(f"no {name}, which --require asks for")


def build(
    spec: str,
    out: str,
    *,
    short_side: int = 128,
    gop: int = 16,
    audio_rate: int = 24000,
    video_format: str = "h264",
    fps: float | None = None,
    workers: int = 0,
    num_shards: int | None = None,
    require: Sequence[str] = (),
    allow_outside: bool = False,
    limits: Limits = DEFAULT_LIMITS,
    transcode: Callable[..., bytes] = transcode,
) -> BuildReport:
    """Writes the records of `spec` to the TFDS folder `out`, re-encoded for quick decoding.

    `fps`: what is on display that often, None for every frame at its own time.
    Every file is opened in a child process (one with `workers=0`), which may die or hang without
    harm. What cannot be decoded, and what lacks a modality of `require`, is dropped and named in
    the report. A build that was killed goes on from its last whole shard; one that is finished is
    left as it is. `transcode` is called in the children and must be importable there.
    """
    _check_numbers(short_side=short_side, gop=gop, audio_rate=audio_rate, num_shards=num_shards)
    for name in require:
        if name not in MODALITIES:
            raise unknown("modality in --require", name, MODALITIES)
    if video_format not in VIDEO_FORMATS:
        raise unknown("--video-format", video_format, VIDEO_FORMATS)
    if fps is not None and not 0 < fps <= MAX_FPS:
        raise UsageError(f"--fps is {fps:g}; it must be above 0 and at most {MAX_FPS}")
    source = open_checked(spec, allow_outside=allow_outside)
    _refuse_inside(source, out)
    settings: Mapping[str, Any] = {
        "fingerprint": source.fingerprint,
        "short_side": short_side,
        "gop": gop,
        "audio_rate": audio_rate,
        "video_format": video_format,
        "fps": fps,
        "require": sorted(require),
        "limits": dataclasses.asdict(limits),
    }
    store = StoreWriter(
        out,
        split=SPLIT,
        num_records=len(source),
        num_shards=min(num_shards or default_num_shards(len(source)), len(source)),
        settings=settings,
        label_names=source.label_names,
        source=spec,
    )
    options: dict[str, Any] = {
        "gop": gop,
        "audio_rate": audio_rate,
        "video_format": video_format,
        "fps": None if fps is None else Fraction(fps).limit_denominator(1001),
    }
    examiner = Examiner(source, short_side, options, tuple(require), limits, transcode)
    with store:
        if pending := store.pending():
            _examine_all(store, pending, examiner, workers)
        already_complete = store.complete
        report = store.finish(tuple(getattr(source, "skipped", ())))
    return _told(out, report, already_complete)


def _examine_all(store: StoreWriter, pending: list[int], examiner: Examiner, workers: int) -> None:
    pool = ChildPool(
        max(1, workers),
        examiner,
        timeout_seconds=max(MAX_SECONDS, examiner.limits.max_decode_seconds) * 1.5,
        memory_bytes=CHILD_MEMORY_BYTES,
    )
    bar = tqdm(total=store.num_records, initial=store.num_records - len(pending),
               desc="build", unit="clip", disable=None)  # fmt: skip
    with pool, bar:
        for index, outcome in pool.map(pending):
            if isinstance(outcome, Failure):
                outcome = Dropped(examiner.source.key(index), reason_of(outcome))
            store.add(index, outcome)
            bar.update()


def _told(out: str, report: Mapping[str, Any], already_complete: bool) -> BuildReport:
    dropped = tuple((entry["key"], entry["reason"]) for entry in report["dropped"])
    if not report["kept"]:
        first = "; ".join(f"{printable(key)}: {printable(why)}" for key, why in dropped[:3])
        raise UsageError(
            f"no record of {printable(report['source'])} could be used, "
            f"{len(dropped)} were dropped ({first}); all are named in {printable(out)}/{REPORT}"
        )
    return BuildReport(
        out=out,
        source=report["source"],
        kept=report["kept"],
        dropped=dropped,
        without_audio=report["without_audio"],
        without_video=report["without_video"],
        num_bytes=report["num_bytes"],
        video_format=report["settings"].get("video_format", FIRST_SETTINGS["video_format"]),
        already_complete=already_complete,
    )


def _check_numbers(**numbers: int | None) -> None:
    for name, number in numbers.items():
        if number is not None and number < 1:
            raise UsageError(f"--{name.replace('_', '-')} is {number}; it must be at least 1")
    if numbers["audio_rate"] not in AAC_RATES:
        rates = ", ".join(map(str, AAC_RATES))
        raise UsageError(f"--audio-rate is {numbers['audio_rate']}; AAC knows {rates}")


def _refuse_inside(source: Source, out: str) -> None:
    """The target in the source folder would be a part of its own source when it is built again."""
    for part, _ in getattr(source, "parts", ((source, 1.0),)):
        root = getattr(part, "root", None)
        if root is None or "://" in out or "://" in root:
            continue
        inside = os.path.realpath(os.path.expanduser(out)) + os.sep
        if inside.startswith(os.path.realpath(root) + os.sep) and part.spec.startswith("folder:"):
            raise UsageError(
                f"'{printable(out)}' lies in the folder that it is built from; "
                "choose a folder outside of it"
            )
