"""A folder of videos or of pictures: every regular file in it is a record, its sub-folder is its class."""

import difflib
import errno
import functools
import logging
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from etils import epath

from avssl.data.keys import digest_of_records, key_of_path, printable
from avssl.data.record import Record
from avssl.data.sources.files import (
    ABSENT,
    identity_of_files,
    is_remote,
    join,
    looks_like_media,
    media_at,
    read_head,
    unlisted,
)
from avssl.data.sources.stills import STILL, is_picture, modalities_of_stills, still_at
from avssl.errors import UsageError

LOG = logging.getLogger("avssl")

# What lies beside videos in most data sets. Such a file is left out, unless its first bytes are
# those of a video; any other file is a record, whatever its name, and fails where it is opened.
_SIDECARS = (
    ".txt .csv .tsv .json .jsonl .xml .yaml .yml .srt .vtt .ass .md .html .pdf .log "
    ".jpg .jpeg .png .gif .bmp .webp .npy .npz .pkl .pt .pth .h5 .hdf5 .zip .gz .tar .7z "
    ".py .sh .ipynb .part .info"
)
SIDECARS = frozenset(_SIDECARS.split())
HIDDEN = "hidden (its name starts with a dot)"
UNREADABLE = "cannot be read"
# At the root of a mounted disk; root alone may look inside.
LOST_AND_FOUND = "lost+found"
# Of a root and a relative path, why the file is no record, or None.
WhyNot = Callable[[str, str], str | None]


class FolderSource:
    """Files below a folder in the order of their names' bytes.

    Links are followed (folders of links are how subsets are made), but no folder is entered twice,
    so a loop ends. `skipped` lists what was left out and why: a name that starts with a dot, on a
    file or a folder, among others.

    stills: of pictures, which are JPEG or PNG files; what else lies beside them is left out.
    """

    def __init__(self, path: str, split: str | None = None, *, stills: bool = False):
        self.stills = stills
        self.spec = f"{'images' if stills else 'folder'}:{path}" + (f"@{split}" if split else "")
        self.root = _existing_folder(path, split)
        walk = _walk_remote if is_remote(self.root) else _walk_local
        why_not = _no_picture if stills else _sidecar
        found: dict[str, tuple[str, int]] = {}
        skipped = []
        listed = walk(self.root, why_not)
        for relative, size, reason in sorted(listed, key=lambda row: os.fsencode(row[0])):
            key = key_of_path(relative)
            if reason is None and key in found:
                reason = "its name reads like another file's"
            if reason is None:
                found[key] = (relative, size)
            else:
                skipped.append((key, reason))
        self.skipped: tuple[tuple[str, str], ...] = tuple(skipped)
        if not found:
            wanted = "pictures (JPEG or PNG)" if stills else "videos"
            raise UsageError(_nothing_in(self.root, wanted, self.skipped))
        if self.skipped:
            key, reason = self.skipped[0]
            LOG.info(
                "%s: %d entries left out, first %s: %s",
                printable(self.root), len(self.skipped), printable(key), reason,
            )  # fmt: skip
        if unreadable := [row for row in self.skipped if row[1].startswith(UNREADABLE)]:
            key, reason = unreadable[0]
            LOG.warning(
                "%s: %d files are left out, first %s: %s",
                printable(self.root), len(unreadable), printable(key), reason,
            )  # fmt: skip
        self._keys = tuple(found)
        self._files = tuple(relative for relative, _ in found.values())
        self._sizes = np.array([size for _, size in found.values()], np.int64)
        # A class cannot be named "": no folder is.
        classes = [key.partition("/")[0] if "/" in key else "" for key in self._keys]
        self.label_names = tuple(sorted(set(classes) - {""}))
        label_of = {name: label for label, name in enumerate(self.label_names)}
        self._labels = np.array([label_of.get(name, -1) for name in classes], np.int32)

    @functools.cached_property
    def fingerprint(self) -> str:
        rows = zip(self._keys, self._labels.tolist(), self._sizes.tolist(), strict=True)
        return digest_of_records(self.label_names, rows)

    @functools.cached_property
    def identity(self) -> str:
        return identity_of_files(self.fingerprint, (join(self.root, file) for file in self._files))

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, index: int) -> Record:
        read = still_at if self.stills else media_at
        return Record(
            key=self._keys[index],
            index=int(index),
            media=read(self.root, self._files[index]),
            label=int(self._labels[index]),
            **(STILL if self.stills else {}),
        )

    def truth(self, _index: int) -> dict[str, Any]:
        """What `self[index].truth` holds, without reading the media: nothing."""
        return {}

    def key(self, index: int) -> str:
        return self._keys[index]

    def labels(self) -> np.ndarray:
        return self._labels

    def modalities(self) -> tuple[np.ndarray, np.ndarray] | None:
        return modalities_of_stills(len(self)) if self.stills else None


def _existing_folder(path: str, split: str | None) -> str:
    root = epath.Path(path).expanduser()
    # A folder may have an @ in its own name.
    if split and not root.exists() and epath.Path(f"{path}@{split}").expanduser().is_dir():
        root, split = epath.Path(f"{path}@{split}").expanduser(), None
    if not root.exists():
        raise UsageError(f"folder '{printable(str(root))}' does not exist{_near(root)}")
    if not root.is_dir():
        raise UsageError(
            f"'{printable(str(root))}' is a file, not a folder; "
            "write manifest:FILE.csv for a list of videos"
        )
    if split:
        inside = sorted(entry.name for entry in root.iterdir() if entry.is_dir())
        if split not in inside:
            raise UsageError(
                f"'@{split}' asks for a sub-folder that '{printable(str(root))}' does not have; "
                f"it has: {printable(', '.join(inside[:10])) or 'none'}"
            )
        root = root / split
    if (root / "dataset_info.json").exists():
        raise UsageError(f"'{printable(str(root))}' is a built data set; write tfds:{root}")
    return str(root) if is_remote(str(root)) else os.path.abspath(root)


def _near(root: epath.Path) -> str:
    try:
        names = [entry.name for entry in root.parent.iterdir() if entry.is_dir()]
    except OSError:
        return ""
    near = difflib.get_close_matches(root.name, names, n=1)
    return f"; did you mean '{printable(near[0])}'?" if near else ""


def _nothing_in(root: str, wanted: str, skipped: tuple[tuple[str, str], ...]) -> str:
    if not skipped:
        return f"folder '{printable(root)}' holds no files"
    key, reason = skipped[0]
    return (
        f"folder '{printable(root)}' holds no {wanted}; {len(skipped)} entries were left out, "
        f"first {printable(key)}: {reason}"
    )


def _walk_local(root: str, why_not: WhyNot) -> Iterator[tuple[str, int, str | None]]:
    """(relative path, size, reason to leave it out or None) of all that is in a folder."""
    entered = set()
    # Linked folders wait until all real ones were entered: a folder is known by its own name first.
    folders, links = [""], []
    while folders or links:
        linked = not folders
        relative = links.pop(0) if linked else folders.pop()
        path = os.path.join(root, relative)
        try:
            status = os.stat(path)
            if (status.st_dev, status.st_ino) in entered:
                yield relative, 0, "a link to a folder that was read already"
                continue
            entered.add((status.st_dev, status.st_ino))
            with os.scandir(path) as entries:
                ordered = sorted(entries, key=lambda entry: os.fsencode(entry.name))
        except ABSENT:
            yield relative or ".", 0, "gone while it was listed"
            continue
        except OSError as error:
            raise unlisted(path, error) from error
        for entry in ordered:
            inside = os.path.join(relative, entry.name)
            if entry.name.startswith("."):
                yield inside, 0, HIDDEN
                continue
            if entry.name == LOST_AND_FOUND:
                yield inside, 0, "the file system's own"
                continue
            if _is_folder(entry):
                (links if entry.is_symlink() else folders).append(inside)
            else:
                yield inside, *_size_or_reason(root, inside, entry, why_not)


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except ABSENT:
        return False
    except OSError as error:
        if error.errno == errno.ELOOP:
            return False
        raise unlisted(entry.path, error) from error


def _size_or_reason(
    root: str, relative: str, entry: os.DirEntry, why_not: WhyNot
) -> tuple[int, str | None]:
    try:
        # A FIFO or a device must not even be opened: it could block for ever.
        if not entry.is_file():
            dangling = entry.is_symlink() and not os.path.exists(entry.path)
            return 0, "a link that leads nowhere" if dangling else "not a regular file"
        size = entry.stat().st_size
        return size, why_not(root, relative)
    except OSError as error:
        return 0, f"{UNREADABLE} ({error.strerror})"


def _walk_remote(root: str, why_not: WhyNot) -> Iterator[tuple[str, int, str | None]]:
    folders = [epath.Path(root)]
    while folders:
        folder = folders.pop()
        try:
            entries = list(folder.iterdir())
        except OSError as error:
            raise unlisted(str(folder), error) from error
        for entry in entries:
            relative = str(entry.relative_to(root))
            if entry.name.startswith("."):
                yield relative, 0, HIDDEN
            elif entry.is_dir():
                folders.append(entry)
            else:
                yield relative, entry.stat().length, why_not(root, relative)


def _sidecar(root: str, relative: str) -> str | None:
    suffix = os.path.splitext(relative)[1].lower()
    if suffix in SIDECARS and not looks_like_media(read_head(root, relative)):
        return f"no media ({suffix} file)"
    return None


def _no_picture(root: str, relative: str) -> str | None:
    return None if is_picture(relative) else "no JPEG or PNG by its name"
