"""Files that a program names, as a source of records."""

import functools
import os
from collections.abc import Sequence

import numpy as np

from avssl.data.keys import digest_of_records
from avssl.data.record import Record
from avssl.errors import UsageError


class ListedSource:
    """One record for each file, in the order given; a file may stand there twice."""

    label_names: tuple[str, ...] = ()

    def __init__(self, paths: Sequence[str | os.PathLike]):
        self.spec = "the files given"
        self._paths = tuple(os.path.abspath(os.path.expanduser(path)) for path in paths)
        for path in self._paths:
            if not os.path.isfile(path):
                raise UsageError(f"'{path}' is no file")

    @functools.cached_property
    def fingerprint(self) -> str:
        return digest_of_records((), ((path, -1, os.path.getsize(path)) for path in self._paths))

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> Record:
        return Record(key=self._paths[index], index=int(index), media=self._paths[index])

    def key(self, index: int) -> str:
        return self._paths[index]

    def labels(self) -> np.ndarray:
        return np.full(len(self), -1, np.int32)

    def modalities(self) -> None:
        return None
