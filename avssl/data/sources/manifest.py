"""A CSV file that names videos or pictures: path, and optionally start, end and label."""

import array
import csv
import functools
import io
import logging
import math
import os
import posixpath
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from etils import epath

from avssl.data.keys import digest_of_records, key_of_path, printable
from avssl.data.record import Record
from avssl.data.sources.files import identity_of_files, is_remote, join, media_at
from avssl.data.sources.stills import is_picture, modalities_of_stills
from avssl.errors import UsageError
from avssl.media.still import as_video

LOG = logging.getLogger("avssl")

# A path that matches none of this can be joined to the folder as it is. Everything else is looked
# at more closely: most manifests have a million rows and none that matches.
_CLOSER_LOOK = re.compile(r"[\x00-\x1f:]|/[./]|/$|^[./\s]|^$")
_CONTROL = re.compile(r"[\x00-\x1f]")
_IS_ADDRESS = re.compile(
    r"://|^(?:file|https?|ftp|rt[sm]?p|udp|tcp|data|pipe|concat|subfile|crypto|cache|async):",
    re.IGNORECASE,
)
_ENDS_LIKE_A_FOLDER = re.compile(r"(?:^|/)\.{1,2}$|/$")


class ManifestSource:
    """Videos listed in a CSV file with a header; paths are relative to the file's folder.

    Columns: `path`; `start` and `end` in seconds, `label` (any text), each optional and allowed to
    be empty in a row; further columns go into the record's `truth` as text. A row that asks for a
    part of a video has the key `PATH#t=START,END`. A row whose key an earlier row has is left out
    and listed in `skipped`. Paths that lead out of the folder are refused unless `allow_outside`: a
    manifest is data, and data must not reach any file it likes. What is called .jpg,
    .jpeg or .png is a picture.
    """

    def __init__(self, path: str, split: str | None = None, *, allow_outside: bool = False):
        file = epath.Path(path).expanduser()
        if split and not file.exists():
            file = epath.Path(f"{path}@{split}").expanduser()
            split = None
        if split:
            raise UsageError(
                f"a manifest has no splits: leave out '@{split}', or write one manifest for each"
            )
        if not file.is_file():
            what = "is a folder; write folder:PATH for it" if file.is_dir() else "does not exist"
            raise UsageError(f"manifest '{printable(str(file))}' {what}")
        self.spec = f"manifest:{path}" + (f"@{split}" if split else "")
        self.root = str(file.parent) if is_remote(str(file)) else os.path.abspath(file.parent)
        self._read(file, allow_outside)

    def _read(self, file: epath.Path, allow_outside: bool) -> None:
        table = _Table(file)
        keys: dict[str, int] = {}
        starts, ends = array.array("d"), array.array("d")
        files, labels, truths, skipped = [], [], [], []
        label_of: dict[str, int] = {"": -1}
        for line, row in table.rows():
            relative = row[table.path]
            if _CLOSER_LOOK.search(relative):
                relative = _safe_path(relative, allow_outside, table.where(line))
            key = key_of_path(relative)
            start, end = math.nan, math.nan
            if table.has_spans:
                start, end = table.span(row, line)
                key += _span_of_key(start, end)
            first = keys.setdefault(key, line)
            if first != line:
                skipped.append((key, f"line {line} repeats line {first}"))
                continue
            files.append(relative)
            starts.append(start)
            ends.append(end)
            name = row[table.label].strip() if table.label is not None else ""
            labels.append(label_of.setdefault(name, len(label_of) - 1))
            if table.others:
                truths.append({column: row[place] for column, place in table.others})
        if not files:
            raise UsageError(f"manifest '{printable(table.name)}' has a header but no rows")
        if skipped:
            LOG.warning("%s: %d rows left out, first: %s", table.name, len(skipped), skipped[0][1])
        self.skipped = tuple(skipped)
        self._of_pictures = all(map(is_picture, files))
        self._keys, self._files, self._truths = tuple(keys), tuple(files), tuple(truths)
        self._spans = np.stack([np.array(starts), np.array(ends)], axis=1)
        # Labels are numbered by name, not by first row: a shuffled manifest keeps its classes.
        names = {key_of_path(name) for name in label_of if name}
        self.label_names = tuple(sorted(names))
        rank = {name: place for place, name in enumerate(self.label_names)}
        places = [rank[key_of_path(name)] if name else -1 for name in label_of]
        # Unlabelled rows hold -1, which must find the entry of "": it is first, so it goes last.
        self._labels = np.array([*places[1:], -1], np.int32)[np.array(labels, np.int64)]

    @functools.cached_property
    def fingerprint(self) -> str:
        rows = zip(self._keys, self._labels.tolist(), map(self._size, self._files), strict=True)
        return digest_of_records(self.label_names, rows)

    @functools.cached_property
    def identity(self) -> str:
        return identity_of_files(self.fingerprint, map(self._path, self._files))

    def _path(self, file: str) -> str:
        return file if file.startswith("/") else join(self.root, file)

    def _size(self, relative: str) -> int:
        path = self._path(relative)
        try:
            return epath.Path(path).stat().length if is_remote(path) else os.stat(path).st_size
        except OSError:
            return -1

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, index: int) -> Record:
        start, end = self._spans[index]
        relative = self._files[index]
        media = relative if relative.startswith("/") else media_at(self.root, relative)
        return Record(
            key=self._keys[index],
            index=int(index),
            media=as_video(media) if is_picture(relative) else media,
            start_seconds=0.0 if math.isnan(start) else float(start),
            end_seconds=None if math.isnan(end) else float(end),
            label=int(self._labels[index]),
            truth=self.truth(index),
        )

    def truth(self, index: int) -> dict[str, Any]:
        """What `self[index].truth` holds, without reading the media."""
        return self._truths[index] if self._truths else {}

    def key(self, index: int) -> str:
        return self._keys[index]

    def labels(self) -> np.ndarray:
        return self._labels

    def modalities(self) -> tuple[np.ndarray, np.ndarray] | None:
        return modalities_of_stills(len(self)) if self._of_pictures else None


class _Table:
    """The CSV file: where its columns are, and its rows with the line each ends on."""

    def __init__(self, file: epath.Path):
        self.name = str(file)
        content = file.read_bytes()
        if content.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise UsageError(f"manifest '{self.name}' is UTF-16; save it as UTF-8")
        # surrogateescape: a file name need not be UTF-8, and comes through unharmed.
        text = content.decode("utf-8-sig", "surrogateescape")
        self._reader = csv.reader(io.StringIO(text, newline=""))
        header = [column.strip().lower() for column in next(self._safely(), [])]
        if "path" not in header:
            columns = printable(", ".join(header)) or "none"
            raise UsageError(
                f"{self.where(1)}: there is no column 'path'; the columns are: {columns}"
            )
        self._width = len(header)
        self.path = header.index("path")
        self._start, self._end, self.label = (
            header.index(column) if column in header else None
            for column in ("start", "end", "label")
        )
        self.has_spans = self._start is not None or self._end is not None
        known = {"path", "start", "end", "label", ""}
        self.others = [(name, place) for place, name in enumerate(header) if name not in known]

    def where(self, line: int) -> str:
        return f"{printable(self.name)}:{line}"

    def _safely(self) -> Iterator[list[str]]:
        try:
            yield from self._reader
        except csv.Error as error:
            raise UsageError(
                f"{self.where(self._reader.line_num)}: {error}; is a quotation mark left open?"
            ) from error

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        width = self._width
        for row in self._safely():
            line = self._reader.line_num
            if len(row) != width:
                if not any(row):
                    continue
                if len(row) > width:
                    raise UsageError(
                        f"{self.where(line)}: {len(row)} cells under {width} columns; "
                        "put quotation marks around a path with a comma"
                    )
                row = row + [""] * (width - len(row))
            yield line, row

    def span(self, row: list[str], line: int) -> tuple[float, float]:
        """(start, end) in seconds, nan where the row does not say."""
        start = self._seconds(row, self._start, "start", line)
        end = self._seconds(row, self._end, "end", line)
        if end <= (0.0 if math.isnan(start) else start):
            raise UsageError(f"{self.where(line)}: end {end:g} is not after the start")
        return start, end

    def _seconds(self, row: list[str], place: int | None, name: str, line: int) -> float:
        cell = row[place].strip() if place is not None else ""
        if not cell:
            return math.nan
        try:
            seconds = float(cell)
        except ValueError:
            seconds = math.nan
        if not (seconds >= 0 and math.isfinite(seconds)):
            raise UsageError(
                f"{self.where(line)}: {name} '{printable(cell)}' is no number of seconds"
            )
        return seconds


def _span_of_key(start: float, end: float) -> str:
    if math.isnan(start) and math.isnan(end):
        return ""
    first = "0" if math.isnan(start) else f"{start:.10g}"
    return f"#t={first}" if math.isnan(end) else f"#t={first},{end:.10g}"


def _safe_path(relative: str, allow_outside: bool, where: str) -> str:
    """The path without detours, or UsageError: lexically, as nothing is looked up on the disk."""
    shown = printable(relative)
    if not relative.strip() or _ENDS_LIKE_A_FOLDER.search(relative):
        raise UsageError(f"{where}: path '{shown}' names no file")
    if _CONTROL.search(relative):
        raise UsageError(f"{where}: path '{shown}' holds a control character")
    if _IS_ADDRESS.search(relative):
        raise UsageError(f"{where}: '{shown}' is an address; only paths of files are read")
    path = posixpath.normpath(relative)
    if (path.startswith(("/", "../")) or path == "..") and not allow_outside:
        raise UsageError(
            f"{where}: path '{shown}' leads out of the manifest's folder; "
            "move the file there, or pass --allow-outside if you trust this manifest"
        )
    return path
