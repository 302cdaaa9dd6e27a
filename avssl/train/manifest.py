"""The sha256 of every file of a checkpoint: Orbax restores a flipped bit without a word."""

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from avssl.errors import AvsslError

NAME = "manifest.json"
MISSING = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


def write(folder: Path) -> None:
    """List size and sha256 of every file under `folder` in `folder/manifest.json`."""
    names = sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )
    with ThreadPoolExecutor(4) as pool:  # hashlib lets go of the interpreter's lock
        entries = list(pool.map(lambda name: _entry(folder / name), names))
    files = dict(zip(names, entries, strict=True))
    with open(folder / NAME, "w", encoding="utf-8") as file:
        json.dump({"files": files, "sha256": _digest_of(files)}, file)
        file.flush()
        os.fsync(file.fileno())


def is_committed(folder: Path) -> bool:
    """The manifest is the last thing written before the folder gets its name."""
    return os.path.isfile(folder / NAME)  # False where it cannot be looked at: `fault` says why


def fault(folder: Path) -> str | None:
    """What is wrong with `folder`, naming the file; None if every file is as it was written.

    A disk that does not answer is an error: it says nothing of what is on it.
    """
    try:
        listed = json.loads((folder / NAME).read_bytes())
        files, digest = listed["files"], listed["sha256"]
    except MISSING:
        return f"{NAME} is missing, so the save was never finished"
    except OSError as error:
        raise unreadable(folder / NAME, error) from error
    except (ValueError, LookupError, TypeError):
        return f"{NAME} is damaged"
    if digest != _digest_of(files):
        return f"{NAME} is damaged"
    for name, (size, _) in files.items():  # sizes first: a cut file is found without reading
        try:
            found = (folder / name).stat().st_size
        except MISSING:
            return f"{name} is missing"
        except OSError as error:
            raise unreadable(folder / name, error) from error
        if found != size:
            return f"{name} has {found} bytes instead of {size}"
    with ThreadPoolExecutor(4) as pool:
        faults = pool.map(lambda name: _content_fault(folder / name, name, files[name][1]), files)
        return next((found for found in faults if found is not None), None)


def _entry(path: Path) -> tuple[int, str]:
    with open(path, "rb") as file:
        # On disk before the name that promises it: a power cut after the commit keeps the files.
        os.fsync(file.fileno())
        return os.fstat(file.fileno()).st_size, hashlib.file_digest(file, "sha256").hexdigest()


def _content_fault(path: Path, name: str, digest: str) -> str | None:
    try:
        with open(path, "rb") as file:
            same = hashlib.file_digest(file, "sha256").hexdigest() == digest
    except MISSING:
        return f"{name} is missing"
    except OSError as error:
        raise unreadable(path, error) from error
    return None if same else f"{name} is not what was saved (its sha256 differs)"


def _digest_of(files: object) -> str:
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()


def unreadable(path: Path, error: OSError) -> AvsslError:
    if isinstance(error, PermissionError):
        return AvsslError(
            f"no permission to read {path}; give it back to this user, or copy the run"
        )
    return AvsslError(
        f"cannot read {path}: {error.strerror or error}; nothing was moved, so the same command may be started "
        "again; a checkpoint that stays unreadable must be moved away by hand"
    )
