"""A CSV file that names videos or pictures: path, and optionally start, end, label or classes, and boxes."""

import array
import functools
import logging
import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from etils import epath

from avssl.data.keys import digest_of_records, key_of_path, printable
from avssl.data.record import Record
from avssl.data.sources.files import identity_of_files, is_remote, join, media_at
from avssl.data.sources.manifest_table import CLOSER_LOOK, ManifestTable, safe_path
from avssl.data.sources.stills import is_picture, modalities_of_stills
from avssl.data.truth import still_objects
from avssl.errors import UsageError
from avssl.media.still import as_video

LOG = logging.getLogger("avssl")


class ManifestSource:
    """Videos listed in a CSV file with a header; paths are relative to the file's folder.

    Columns: `path`; `start` and `end` in seconds, `label` (any text), each optional and allowed to
    be empty in a row; further columns go into the record's `truth` as text. In place of `label`
    a manifest may have `classes`: all of a record, as `dog;cat`, and an empty cell for one that is
    known to be of none. `boxes` says where things are, as `0.1 0.2 0.5 0.9 car; ...`: x0, y0, x1, y1 in
    shares of the frame at all times of the record, none of them known to be heard; in an empty cell nothing
    is. `stream` names a further track that a picture also is, such as depth or thermal, for views of that
    `stream`. A row that asks for a part of a video has the key `PATH#t=START,END`. A row
    whose key an earlier row has is left out and listed in `skipped`. Paths that lead out of the
    folder are refused unless `allow_outside`: a manifest is data, and data must not reach any file
    it likes. What is called .jpg, .jpeg or .png is a picture.
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
        table = ManifestTable(file)
        keys: dict[str, int] = {}
        starts, ends = array.array("d"), array.array("d")
        files, labels, truths, classes, objects, streams, skipped = [], [], [], [], [], [], []
        label_of: dict[str, int] = {"": -1}
        classes_of: dict[str, tuple[str, ...]] = {}
        for line, row in table.rows():
            relative = row[table.path]
            if CLOSER_LOOK.search(relative):
                relative = safe_path(relative, allow_outside, table.where(line))
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
            if table.classes is not None:
                cell = row[table.classes]
                if cell not in classes_of:
                    classes_of[cell] = table.names(cell)
                classes.append(classes_of[cell])
            if table.boxes is not None:
                objects.append(tuple(table.objects(row, line)))
            if table.stream is not None:
                streams.append(table.stream_of(row, line))
            if table.others:
                truths.append({column: row[place] for column, place in table.others})
        if not files:
            raise UsageError(f"manifest '{printable(table.name)}' has a header but no rows")
        if skipped:
            LOG.warning("%s: %d rows left out, first: %s", table.name, len(skipped), skipped[0][1])
        self.skipped = tuple(skipped)
        self._of_pictures = all(map(is_picture, files))
        self._keys, self._files, self._truths = tuple(keys), tuple(files), tuple(truths)
        self._classes = tuple(classes) if table.classes is not None else None
        self._objects = tuple(objects) if table.boxes is not None else None
        self._streams = tuple(streams) if any(streams) else None
        self._spans = np.stack([np.array(starts), np.array(ends)], axis=1)
        # Labels are numbered by name, not by first row: a shuffled manifest keeps its classes.
        names = {key_of_path(name) for name in label_of if name}.union(*classes_of.values())
        names.update(name for things in objects for name, _ in things)
        self.label_names = tuple(sorted(names))
        rank = {name: place for place, name in enumerate(self.label_names)}
        places = [rank[key_of_path(name)] if name else -1 for name in label_of]
        # Unlabelled rows hold -1, which must find the entry of "": it is first, so it goes last.
        self._labels = np.array([*places[1:], -1], np.int32)[np.array(labels, np.int64)]

    @functools.cached_property
    def fingerprint(self) -> str:
        sizes = map(self._size, self._files)
        if self._classes is not None:
            sizes = zip(sizes, self._classes, strict=True)
        if self._objects is not None:
            sizes = zip(sizes, self._objects, strict=True)
        if self._streams is not None:
            sizes = zip(sizes, self._streams, strict=True)
        rows = zip(self._keys, self._labels.tolist(), sizes, strict=True)
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
        if is_picture(relative):
            media = as_video(media, stream=self._streams[index] if self._streams else "")
        return Record(
            key=self._keys[index],
            index=int(index),
            media=media,
            start_seconds=0.0 if math.isnan(start) else float(start),
            end_seconds=None if math.isnan(end) else float(end),
            label=int(self._labels[index]),
            truth=self.truth(index),
        )

    def truth(self, index: int) -> dict[str, Any]:
        """What `self[index].truth` holds, without reading the media."""
        truth = self._truths[index] if self._truths else {}
        if self._objects is not None:
            found = ((self.label_names.index(name), box) for name, box in self._objects[index])
            truth = truth | still_objects(found, self.label_names)
        if self._classes is None:
            return truth
        return truth | {"classes": list(self._classes[index])}

    def classes(self, index: int) -> Sequence[str] | None:
        return None if self._classes is None else self._classes[index]

    def key(self, index: int) -> str:
        return self._keys[index]

    def labels(self) -> np.ndarray:
        return self._labels

    def modalities(self) -> tuple[np.ndarray, np.ndarray] | None:
        return modalities_of_stills(len(self)) if self._of_pictures else None


def _span_of_key(start: float, end: float) -> str:
    if math.isnan(start) and math.isnan(end):
        return ""
    first = "0" if math.isnan(start) else f"{start:.10g}"
    return f"#t={first}" if math.isnan(end) else f"#t={first},{end:.10g}"
