"""The lists and annotations that published data sets come with: read strictly, refused by file and line."""

import csv
import io
import json
import math
import os
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from typing import Any

from etils import epath

from avssl.data.keys import printable
from avssl.errors import UsageError

MAX_SHOWN = 40  # characters of a cell in a message
MAX_XML_BYTES = 1 << 20  # one picture's annotation has a few thousand
# What a list may name: a path that stays below the folder it is looked for in.
_LEADS_OUT = re.compile(r"^/|(?:^|/)\.\.(?:/|$)|[\x00-\x1f]|://")


def root_of(kind: str, path: str, split: str | None) -> tuple[epath.Path, str, str | None]:
    """The folder of a data set, as it is written, and the split; a folder may have an @ in its own name."""
    root = epath.Path(path).expanduser()
    if split and not root.exists():
        whole = epath.Path(f"{path}@{split}").expanduser()
        if whole.is_dir():
            root, path, split = whole, f"{path}@{split}", None
    if not root.is_dir():
        what = "is a file, not a folder" if root.exists() else "does not exist"
        raise UsageError(f"{kind}: the folder '{printable(str(root))}' {what}")
    return root, path, split


def chosen(kind: str, split: str | None, known: Sequence[str]) -> str:
    """The split that a spec asks for, which must be one of those that the data set has."""
    if split is None or split not in known:
        said = "no split is named" if split is None else f"there is no split '{printable(split)}'"
        raise UsageError(f"{kind}: {said}; write @ and one of {', '.join(known)} behind the folder")
    return split


def named(kind: str, split: str | None, examples: str) -> str:
    """The list that a spec asks for, of which the data set has any number."""
    if split is None:
        raise UsageError(f"{kind}: no list is named; write @ and {examples} behind the folder")
    return split


def find_file(root: epath.Path, names: Sequence[str], what: str) -> epath.Path:
    """The first of these files that is there; names are relative to the root."""
    for name in names:
        if (root / name).is_file():
            return root / name
    places = " nor ".join(f"'{name}'" for name in names)
    neither = "neither " if len(names) > 1 else "no "
    raise UsageError(f"'{printable(str(root))}' has {neither}{places}, {what}")


def find_list(
    root: epath.Path, name: str, folders: Sequence[str], suffixes: Sequence[str], what: str
) -> epath.Path:
    """A list by its official name, with or without its suffix, in the first folder that has it."""
    if _LEADS_OUT.search(name):
        raise UsageError(f"the list '{printable(name)}' leads out of its folder")
    for folder in folders:
        for suffix in ("", *suffixes):
            if name.endswith(tuple(suffixes)) == (not suffix):
                file = root / folder / f"{name}{suffix}"
                if file.is_file():
                    return file
    there = sorted(
        entry.name
        for folder in folders
        if (root / folder).is_dir()
        for entry in (root / folder).iterdir()
        if entry.name.endswith(tuple(suffixes))
    )
    has = f"there are {printable(', '.join(there[:10]))}" if there else "there is none at all"
    raise UsageError(f"'{printable(str(root))}' has no {what} '{printable(name)}'; {has}")


def read_text(file: epath.Path, most_bytes: int | None = None) -> str:
    try:
        with file.open("rb") as stream:
            content = stream.read(-1 if most_bytes is None else most_bytes + 1)
    except OSError as error:
        raise UsageError(f"'{printable(str(file))}' cannot be read ({error.strerror})") from error
    if most_bytes is not None and len(content) > most_bytes:
        raise UsageError(
            f"'{printable(str(file))}' is larger than any annotation ({most_bytes} bytes)"
        )
    if content.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in content:
        raise UsageError(f"'{printable(str(file))}' is no UTF-8 text; save it as UTF-8")
    # surrogateescape: a file name need not be UTF-8, and comes through unharmed.
    return content.decode("utf-8-sig", "surrogateescape")


def lines_of(file: epath.Path) -> Iterator[tuple[str, str]]:
    """(file and line for messages, stripped text) of each line that is not empty; at least one."""
    empty, name = True, printable(str(file))
    for number, text in enumerate(read_text(file).split("\n"), start=1):
        if stripped := text.strip():
            empty = False
            yield f"{name}:{number}", stripped
    if empty:
        raise UsageError(f"'{name}' is empty")


def rows_of(
    file: epath.Path,
    *,
    num_cells: Sequence[int],
    delimiter: str = ",",
    skip_initial_space: bool = False,
) -> Iterator[tuple[str, list[str]]]:
    """(file and line, cells) of a CSV file; lines that begin with # are comments; at least one row."""
    reader = csv.reader(
        io.StringIO(read_text(file), newline=""),
        delimiter=delimiter,
        skipinitialspace=skip_initial_space,
        strict=True,
    )
    empty, name = True, printable(str(file))
    try:
        for row in reader:
            if not any(row) or row[0].startswith("#"):
                continue
            where = f"{name}:{reader.line_num}"
            if len(row) not in num_cells:
                wanted = " or ".join(map(str, num_cells))
                raise UsageError(f"{where}: {len(row)} cells where {wanted} belong; is it torn?")
            empty = False
            yield where, row
    except csv.Error as error:
        raise UsageError(f"{name}:{reader.line_num}: {error}; is it torn?") from error
    if empty:
        raise UsageError(f"'{name}' is empty")


def table_of(
    file: epath.Path, columns: Sequence[str], *, delimiter: str = ","
) -> Iterator[tuple[str, dict[str, str]]]:
    """(file and line, cell by column) of a CSV file with a header that has at least these columns."""
    header: list[str] | None = None
    width = range(1, 1000)
    for where, row in rows_of(file, num_cells=width, delimiter=delimiter):
        if header is None:
            header = [column.strip() for column in row]
            if missing := [column for column in columns if column not in header]:
                raise UsageError(
                    f"{where}: there is no column '{missing[0]}'; the columns are: "
                    f"{printable(', '.join(header))}"
                )
            continue
        if len(row) != len(header):
            raise UsageError(f"{where}: {len(row)} cells where {len(header)} belong; is it torn?")
        yield where, dict(zip(header, row, strict=True))


def json_of(file: epath.Path) -> Any:
    try:
        return json.loads(read_text(file))
    except ValueError as error:
        raise UsageError(f"'{printable(str(file))}' is no JSON ({error}); is it torn?") from error
    except RecursionError as error:
        raise UsageError(f"'{printable(str(file))}' nests deeper than any annotation") from error


def xml_of(file: epath.Path) -> ElementTree.Element:
    text = read_text(file, most_bytes=MAX_XML_BYTES)
    # Entities can be nested until a small file fills the memory; no annotation needs them.
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise UsageError(f"'{printable(str(file))}' defines entities, which no annotation needs")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        line = text.count("\n", 0, error.start) + 1
        raise UsageError(
            f"{printable(str(file))}:{line}: no UTF-8 text; save it as UTF-8"
        ) from error
    try:
        return ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise UsageError(f"'{printable(str(file))}' is no XML ({error}); is it torn?") from error


def number(text: Any, where: str, name: str, *, least: float = 0.0) -> float:
    # Of JSON it may be anything, and an integer larger than a float can hold.
    try:
        value = float(text)
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    if not (value >= least and math.isfinite(value)):
        plain = isinstance(text, str | int | float)
        shown = printable(str(text)[:MAX_SHOWN]) if plain else f"a {type(text).__name__}"
        bound = f" from {least:g} on" if least > -math.inf else ""
        raise UsageError(f"{where}: {name} '{shown}' is no number{bound}")
    return value


def word(text: Any, where: str, name: str) -> str:
    """A name in JSON, which can write halves of characters that no file can hold."""
    if not isinstance(text, str):
        raise UsageError(f"{where}: {name} is no text")
    try:
        os.fsencode(text)
    except UnicodeEncodeError as error:
        raise UsageError(f"{where}: {name} '{printable(text)}' holds half a character") from error
    return text


def whole(text: str, where: str, name: str) -> int:
    value = number(text, where, name)
    if value != int(value):
        raise UsageError(f"{where}: {name} '{printable(text)}' is no whole number")
    return int(value)


def inside(text: str, where: str) -> str:
    """A relative path that a list names, refused where it leads out: lists are data."""
    if not text or _LEADS_OUT.search(text):
        raise UsageError(f"{where}: '{printable(text)}' names no file below the data set's folder")
    return word(text, where, "the name")
