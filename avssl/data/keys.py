"""Names of records: from file names to stable keys, and from keys to what a terminal shows."""

import hashlib
import os
from collections.abc import Iterable


def key_of_path(relative: str) -> str:
    r"""A file's key: its relative path, `/` between parts, bytes that are not UTF-8 as `\xNN`."""
    if relative.isascii() and os.sep == "/":
        return relative
    return os.fsencode(relative).decode("utf-8", "backslashreplace").replace(os.sep, "/")


def printable(text: str) -> str:
    """The text with control characters escaped: a file's name must not move the cursor."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def digest_of_records(
    label_names: Iterable[str], records: Iterable[tuple[str, int, object]]
) -> str:
    """Hex digest of (key, label, size) of every record, in order: a source's fingerprint."""
    digest = hashlib.sha256()
    for name in label_names:
        digest.update(name.encode("utf-8", "surrogatepass") + b"\n")
    for key, label, size in records:
        digest.update(f"{key}\0{label}\0{size}\n".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:32]
