"""`avssl teach`: what a trained encoder says of every record of a source, written once for its students."""

import dataclasses
import math
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from avssl.data.keys import printable
from avssl.data.open import open_checked
from avssl.data.reader import NONE
from avssl.data.record import Source
from avssl.data.shard_writer import default_num_shards
from avssl.data.views import View
from avssl.errors import UsageError, unknown
from avssl.objectives.base import TARGET_KINDS
from avssl.teachers.answers import answers, divisible
from avssl.teachers.encoding import DTYPES, Encoding
from avssl.teachers.function import teacher_of
from avssl.teachers.spec import same_sight, told
from avssl.teachers.store import LACKING, UNREADABLE
from avssl.teachers.teacher import SeeingTeacher, Teacher
from avssl.teachers.windows import Plan, known_to_have, plan
from avssl.teachers.writer import Answers, TargetWriter

VIEW = "view"
# What a view asks of its source, and not what is seen.
OWN_BOXES = ("objects", "heard_objects")
PRECISIONS = ("float32", "bf16")


@dataclasses.dataclass(frozen=True)
class TeachReport:
    """What a store holds, for a person."""

    out: str
    meta: dict[str, Any] | None
    already_complete: bool

    def summary(self) -> str:
        shown = printable(self.out)
        if self.meta is None:
            return f"{shown}: the shards of this host are written; the host that ends last finishes the store"
        meta = self.meta
        done = "was complete already" if self.already_complete else "is complete"
        kinds = ", ".join(
            f"{kind} {list(shape)}" for kind, shape in meta["encoding"]["shapes"].items()
        )
        if named(meta["encoding"]["shapes"]) and meta["classes"] is None:
            kinds += " (the names of its classes are not known)"
        unreadable = meta["unreadable"]
        lines = [
            f"{shown} {done}: {kinds} of {meta['num_windows']} windows of {meta['num_records']} records of "
            f"{printable(meta['data'])}, {meta['num_bytes'] / max(meta['num_windows'], 1):.0f} bytes a window; "
            f"without {meta['view']['modality']} {meta['num_lacking']}, unreadable {len(unreadable)}"
        ]
        lines += [f"  unreadable {printable(key)}" for key in unreadable[:100]]
        return "\n".join(lines)


def teach(
    run: str,
    data: str,
    out: str,
    *,
    encoder: str = "",
    targets: Sequence[str] = ("embedding",),
    every_seconds: float = 0.0,
    dtype: str = "float16",
    top_k: int = 0,
    precision: str = "float32",
    batch_size: int = 64,
    workers: int = 0,
    num_shards: int | None = None,
    host: int = 0,
    num_hosts: int = 1,
) -> TeachReport:
    """Writes the store `out`. A killed one goes on from its last whole shard.

    The teacher sees each record's middle, or a window every so many seconds, without augmentation and in
    centre crops.
    """
    check_arguments(targets, every_seconds, dtype, precision, host, num_hosts)
    teacher = teacher_of(run, encoder)
    teacher.check_targets(targets)
    source = open_checked(data)
    view = only_view(teacher)
    check_modality(source, view)
    seeing = teacher.seeing(VIEW, view, precision)
    encoding = Encoding(seeing.shapes(targets), dtype, top_k)
    check_top_k(encoding)
    writer = TargetWriter(
        out,
        encoding=encoding,
        meta={
            "teacher": teacher.called,
            "teacher_hash": teacher.hash,
            "classes": list(teacher.classes) if teacher.classes and named(targets) else None,
            "data": data,
            "fingerprint": source.fingerprint,
            "every_seconds": every_seconds,
            "precision": precision,
            "view": {"modality": view.modality, **said_of(view)},
        },
        num_records=len(source),
        num_shards=min(num_shards or default_num_shards(len(source)), len(source)),
        source=data,
        host=host,
        num_hosts=num_hosts,
    )
    with writer:
        already_complete = writer.complete
        if writer.pending_shards():
            write_all(writer, seeing, source, batch_size, workers, every_seconds)
        meta = writer.finish()
    if meta is not None and not meta["num_windows"]:
        raise UsageError(
            f"'{printable(out)}' is empty: of {meta['num_records']} records of {printable(data)} "
            f"{meta['num_lacking']} have no {view.modality} and {len(meta['unreadable'])} cannot be read; "
            "remove it, and teach on data that have what this encoder looks at"
        )
    return TeachReport(out, meta, already_complete)


def check_modality(source: Source, view: View) -> None:
    """Refuses, before anything is written, records that are known to show the teacher nothing."""
    if (known := known_to_have(source, view)) is not None and not known.any():
        raise UsageError(
            f"none of the {len(source)} records of {printable(source.spec)} has {view.modality}, which this "
            "encoder looks at: name another --encoder, or data that have it"
        )


def named(targets: Collection[str]) -> bool:
    """Whether targets of these kinds are of classes, which have names."""
    return "logits" in targets or "boxes" in targets


def said_of(view: View) -> dict[str, Any]:
    """The fields of a view but for what came later and says nothing here: older stores stay the same."""
    fields = dataclasses.asdict(view).items()
    return {key: value for key, value in fields if value is not None and key not in OWN_BOXES}


def only_view(teacher: Teacher) -> View:
    """What the teacher was trained on; a store is of one kind of view, and nobody could say of which."""
    first = teacher.views[0]
    if others := [view for view in teacher.views if not same_sight(view, first)]:
        raise UsageError(
            f"the encoder '{teacher.encoder}' of {teacher.where} was trained on views of several kinds "
            f"({told(first)}; {told(others[0])}), and a store is of one: teach online, or by a run whose "
            "encoder has views of one kind"
        )
    return first


def check_arguments(
    targets: Sequence[str],
    every_seconds: float,
    dtype: str,
    precision: str,
    host: int,
    num_hosts: int,
) -> None:
    if not targets:
        raise UsageError(f"--targets is empty: say which of {', '.join(TARGET_KINDS)}")
    for kind in targets:
        if kind not in TARGET_KINDS:
            raise unknown("target in --targets", kind, TARGET_KINDS)
    if dtype not in DTYPES:
        raise unknown("--dtype", dtype, DTYPES)
    if precision not in PRECISIONS:
        raise unknown("--precision", precision, PRECISIONS)
    if not math.isfinite(every_seconds) or every_seconds < 0:
        raise UsageError(
            f"--every-seconds must be above 0, or 0 for one window of each record, not {every_seconds:g}"
        )
    if host >= num_hosts:
        raise UsageError(f"--host counts from 0: {host} of {num_hosts} hosts is none")


def check_top_k(encoding: Encoding) -> None:
    if not encoding.top_k:
        return
    if "logits" not in encoding.shapes:
        raise UsageError("--top-k is of logits: add them to --targets")
    if encoding.top_k >= (num_classes := encoding.shapes["logits"][-1]):
        raise UsageError(
            f"--top-k {encoding.top_k} keeps all of {num_classes} classes: leave it out"
        )


def write_all(
    writer: TargetWriter,
    seeing: SeeingTeacher,
    source: Source,
    batch_size: int,
    workers: int,
    every_seconds: float,
) -> None:
    view, kinds = seeing.model.views[VIEW], tuple(writer.encoding.shapes)
    batch_size = divisible(batch_size)
    planned = plan(writer, source, view, batch_size, every_seconds)
    pending = writer.pending()
    answers = answered(seeing, source, planned, batch_size, workers, kinds)
    total = writer.num_own_records
    bar = tqdm(total=total, initial=total - len(pending), desc="teach", unit="clip", disable=None)
    with bar:
        for record in pending:
            count = planned.num_windows[record]
            state = planned.states.get(record)
            windows = []
            for _ in range(count):
                found = next(answers)
                if isinstance(found, int):
                    state = state or found
                else:
                    windows.append(found)
            # A record of which one window cannot be read has none: its grid would have a hole.
            answer = Answers(source.key(record), windows if state is None else (), state or 0)
            writer.add(record, answer)
            bar.update()


def answered(
    seeing: SeeingTeacher,
    source: Source,
    planned: Plan,
    batch_size: int,
    workers: int,
    kinds: Sequence[str],
) -> Iterator[dict[str, np.ndarray] | int]:
    """The targets of each planned window, or why it has none."""
    if not len(planned.index):
        return
    found = answers(
        seeing, source, kinds, batch_size=batch_size, indices=planned.index, starts=planned.starts,
        workers=workers,
    )  # fmt: skip
    for number, (batch, said) in enumerate(found):
        present = batch["present"][VIEW]
        for row in range(batch_size):
            if planned.index[number * batch_size + row] == NONE:
                continue
            if not batch["mask"][row]:
                yield UNREADABLE
            elif not present[row]:
                yield LACKING
            else:
                yield {kind: array[row] for kind, array in said.items()}
