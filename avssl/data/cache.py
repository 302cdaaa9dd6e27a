"""The folder for what can be made again: generated worlds, tables of other data sets."""

import os
import re
import secrets

from etils import epath


def cache_folder() -> epath.Path:
    """`$AVSSL_CACHE`, by default ~/.cache/avssl."""
    return epath.Path(os.environ.get("AVSSL_CACHE") or "~/.cache/avssl").expanduser()


# What `write_whole` calls a file before it is whole.
PARTIAL = re.compile(r"\..+\.[0-9a-f]{8}\.tmp")


def write_whole(path: epath.Path, content: bytes) -> None:
    """Writes a file so that it is never seen half-written, not even after a kill."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.parent / f".{path.name}.{secrets.token_hex(4)}.tmp"
    try:
        partial.write_bytes(content)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
