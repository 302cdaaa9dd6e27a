"""Which files of a data set are there: each folder is listed once, however many names are asked for."""

import os
from collections.abc import Sequence

from etils import epath

from avssl.data.sources.files import ABSENT, is_remote, unlisted

VIDEO_SUFFIXES = (".mp4", ".avi", ".mkv", ".webm", ".mov", ".flv", ".3gp", ".mpg")
SOUND_SUFFIXES = (".wav", ".flac", ".m4a", ".mp3", ".ogg", ".aac", ".opus")
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png")
MEDIA_SUFFIXES = VIDEO_SUFFIXES + SOUND_SUFFIXES


class Shelf:
    """Names below a root. Whether what has a name is whole turns out where it is decoded."""

    def __init__(self, root: epath.Path):
        self.root = str(root) if is_remote(str(root)) else os.path.abspath(root)
        self._folders: dict[str, dict[str, list[str]]] = {}

    def find(
        self,
        folders: Sequence[str],
        stem: str,
        suffixes: Sequence[str] = MEDIA_SUFFIXES,
        official: str = "",
    ) -> str | None:
        """The relative path of STEM with one of these suffixes, in the first folder that has one.

        The suffix of the `official` name comes first: data sets are often kept in another container
        than the one they were published in. Stem and folders may hold slashes.
        """
        inner, _, name = stem.rpartition("/")
        for folder in folders:
            place = f"{folder}/{inner}" if folder and inner else folder or inner
            found = self._names(place).get(name)
            if not found:
                continue
            for suffix in (os.path.splitext(official)[1].lower(), *suffixes):
                for candidate in found:
                    if suffix and os.path.splitext(candidate)[1].lower() == suffix:
                        return f"{place}/{candidate}" if place else candidate
        return None

    def table(
        self, folders: Sequence[str], suffixes: Sequence[str] = MEDIA_SUFFIXES
    ) -> dict[str, str]:
        """What `find` says of every stem in these folders: one look-up a name, however many folders."""
        found: dict[str, str] = {}
        for folder in folders:
            for stem in self._names(folder):
                if stem not in found and (path := self.find((folder,), stem, suffixes)):
                    found[stem] = path
        return found

    def stems(self, folder: str, *suffixes: str) -> list[str]:
        """The files with one of these suffixes in a folder, without it, in order."""
        return [
            stem
            for stem, names in self._names(folder).items()
            if any(name[len(stem) :].lower() in suffixes for name in names)
        ]

    def folders_in(self, folder: str) -> tuple[str, ...]:
        """The folders in a folder, in order."""
        path = f"{self.root}/{folder}"
        try:
            if is_remote(path):
                inside = sorted(
                    entry.name for entry in epath.Path(path).iterdir() if entry.is_dir()
                )
            else:
                with os.scandir(path) as entries:
                    inside = sorted(entry.name for entry in entries if entry.is_dir())
        except ABSENT:
            return ()
        except OSError as error:
            raise unlisted(path, error) from error
        return tuple(f"{folder}/{name}" for name in inside)

    def _names(self, folder: str) -> dict[str, list[str]]:
        """File names of a folder by their stem."""
        if folder not in self._folders:
            stems: dict[str, list[str]] = {}
            for name in self._listed(f"{self.root}/{folder}" if folder else self.root):
                stems.setdefault(os.path.splitext(name)[0], []).append(name)
            self._folders[folder] = stems
        return self._folders[folder]

    def _listed(self, path: str) -> list[str]:
        try:
            if is_remote(path):
                return sorted(entry.name for entry in epath.Path(path).iterdir())
            return sorted(os.listdir(path))
        except ABSENT:
            return []
        except OSError as error:
            raise unlisted(path, error) from error
