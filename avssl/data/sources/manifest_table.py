"""The CSV file of a manifest: its columns, its rows, and the paths that they may name."""

import csv
import io
import math
import posixpath
import re
from collections.abc import Iterator

from etils import epath

from avssl.data.keys import key_of_path, printable
from avssl.data.sources.stills import is_picture
from avssl.data.truth import STRUCTURED
from avssl.errors import UsageError

BETWEEN_CLASSES = BETWEEN_BOXES = ";"

# A path that matches none of this can be joined to the folder as it is. Everything else is looked
# at more closely: most manifests have a million rows and none that matches.
CLOSER_LOOK = re.compile(r"[\x00-\x1f:]|/[./]|/$|^[./\s]|^$")
_STREAM = re.compile(r"[A-Za-z0-9_-]+")
_CONTROL = re.compile(r"[\x00-\x1f]")
_IS_ADDRESS = re.compile(
    r"://|^(?:file|https?|ftp|rt[sm]?p|udp|tcp|data|pipe|concat|subfile|crypto|cache|async):",
    re.IGNORECASE,
)
_ENDS_LIKE_A_FOLDER = re.compile(r"(?:^|/)\.{1,2}$|/$")


class ManifestTable:
    """Where the columns are, and the rows with the line each ends on."""

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
        self._start, self._end, self.label, self.classes, self.boxes, self.stream = (
            header.index(column) if column in header else None
            for column in ("start", "end", "label", "classes", "boxes", "stream")
        )
        self.has_spans = self._start is not None or self._end is not None
        known = {"path", "start", "end", "label", "classes", "boxes", "stream", ""}
        self.others = [(name, place) for place, name in enumerate(header) if name not in known]
        self._check_columns()

    def _check_columns(self) -> None:
        if self.label is not None and self.classes is not None:
            raise UsageError(
                f"{self.where(1)}: there are both 'label' and 'classes': leave one out; 'classes' may also "
                "hold a single one"
            )
        for name, _ in self.others:
            if name in STRUCTURED or (name == "fps" and self.boxes is not None):
                raise UsageError(
                    f"{self.where(1)}: column '{name}' has a name under which protocols read something that "
                    "is no text: rename it"
                )

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

    def names(self, cell: str) -> tuple[str, ...]:
        """The classes that a cell of the column `classes` lists."""
        parts = (part.strip() for part in cell.split(BETWEEN_CLASSES))
        return tuple(dict.fromkeys(key_of_path(part) for part in parts if part))

    def stream_of(self, row: list[str], line: int) -> str:
        """The name of the track that a picture also is; empty for none."""
        assert self.stream is not None
        name = row[self.stream].strip()
        if name and not _STREAM.fullmatch(name):
            raise UsageError(
                f"{self.where(line)}: stream '{printable(name)}' is no word such as depth or thermal"
            )
        if name and not is_picture(row[self.path]):
            raise UsageError(
                f"{self.where(line)}: stream '{name}' is of a picture, and '{printable(row[self.path])}' is "
                "none by its name: a video names its tracks itself"
            )
        return name

    def objects(self, row: list[str], line: int) -> list[tuple[str, list[float]]]:
        """(class, box) of each thing that a cell of the column `boxes` lists."""
        assert self.boxes is not None
        parts = (part.strip() for part in row[self.boxes].split(BETWEEN_BOXES))
        return [self._object(part, line) for part in parts if part]

    def _object(self, part: str, line: int) -> tuple[str, list[float]]:
        *cells, name = part.split(maxsplit=4)
        try:
            box = [float(cell) for cell in cells]
        except ValueError:
            box = []
        if len(box) != 4 or not (0 <= box[0] < box[2] <= 1 and 0 <= box[1] < box[3] <= 1):
            raise UsageError(
                f"{self.where(line)}: boxes '{printable(part)}' is not x0 y0 x1 y1 CLASS, in shares of the "
                "frame from 0 to 1"
            )
        return key_of_path(name), box

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


def safe_path(relative: str, allow_outside: bool, where: str) -> str:
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
