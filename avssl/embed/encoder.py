"""One trained encoder: media or arrays in, embeddings out."""

import functools
import itertools
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from avssl.data.placement import num_windows_every
from avssl.data.reader import Batch
from avssl.data.views import VideoView, View
from avssl.embed.arrays import Frames, Samples
from avssl.embed.files import VIEW, count_windows, file_batches
from avssl.embed.listed import ListedSource
from avssl.errors import UsageError
from avssl.teachers.teacher import Teacher
from avssl.train.mesh import batch_sharding, local_mesh, replicated
from avssl.train.model import purpose_key

Clip = str | os.PathLike | np.ndarray


class Encoder:
    """A trained encoder with its front end, and the kind of window that it was trained on, `view`.

    `module` is the Flax module and `variables` its parameters and running statistics; the arrays that
    the module takes are what `frontend` makes of pixels or samples:

        pixels = frontend(video)                      # float [batch, time, height, width, 3] in [0, 1]
        features = module.apply(variables, pixels, train=False)

    `embed` does all of that, and finds the windows, crops and sample rate of the view.
    """

    def __init__(self, teacher: Teacher, precision: str, batch_size: int = 64):
        self.name, self.where = teacher.encoder, teacher.where
        self.view: View = teacher.views[0]
        self.batch_size = batch_size
        self._seeing = teacher.seeing(VIEW, self.view, precision)
        self.module: nn.Module = self._seeing.model.encoders[self.name]
        self.frontend: Any = self._seeing.model.frontends[self.name]
        held = self._seeing.variables
        self.variables = {"params": held["params"], "batch_stats": held["batch_stats"]}

    @property
    def modality(self) -> str:
        return self.view.modality

    @functools.cached_property
    def dim(self) -> int:
        """The length of an embedding."""
        return self._seeing.shapes(("embedding",))["embedding"][-1]

    def embed(
        self,
        clips: Clip | Sequence[Clip],
        *,
        rate: float | None = None,
        every_seconds: float | None = None,
    ) -> np.ndarray | list[np.ndarray]:
        """[dim] of a file or an array, [n, dim] of a list of n of them: of each the window in its middle.

        With `every_seconds` a window every so often, from the start: [windows, dim] of one, a list of
        such arrays of a list. `rate`: of arrays, frames or samples a second. A file that cannot be read
        or lacks the modality raises AvsslError. Where a panorama is looked at is drawn for each window, by
        its number among all: the same for one clip, and for one list.
        """
        if every_seconds is not None and not (
            math.isfinite(every_seconds) and every_seconds >= 1e-3
        ):
            raise UsageError(f"every_seconds must be at least 0.001, not {every_seconds}")
        is_one = isinstance(clips, str | os.PathLike | np.ndarray)
        listed: list[Any] = [clips] if is_one else list(clips)
        found = self._by_clip(listed, rate, every_seconds)
        if every_seconds is not None:
            return found[0] if is_one else found
        rows = np.array([windows[0] for windows in found], np.float32).reshape(-1, self.dim)
        return rows[0] if is_one else rows

    def _by_clip(
        self, clips: list[Any], rate: float | None, every_seconds: float | None
    ) -> list[np.ndarray]:
        """[windows, dim] of each."""
        if not clips:
            return []
        are_arrays = {isinstance(clip, np.ndarray) for clip in clips}
        if len(are_arrays) == 2:
            raise UsageError("a list is of files or of arrays, not of both")
        if are_arrays == {True}:
            windows: list[np.ndarray] = []
            for clip in clips:
                first = sum(map(len, windows))
                windows.append(self._windows(clip, rate, every_seconds, first))
            counts = [len(some) for some in windows]
            rows = self._rows_of(self._array_batches(np.concatenate(windows)))
        else:
            if rate is not None:
                raise UsageError("rate is of arrays: files say their own")
            source = ListedSource(clips)
            counts = count_windows(source, self.view, every_seconds)
            rows = self._rows_of(
                file_batches(source, self.view, counts, every_seconds, self._num_rows)
            )
        return np.split(rows, np.cumsum(counts)[:-1])

    def _windows(
        self, array: np.ndarray, rate: float | None, every_seconds: float | None, first: int
    ) -> np.ndarray:
        if rate is None or not math.isfinite(rate) or rate <= 0:
            raise UsageError(f"rate must say how many frames or samples a second, not {rate}")
        view = self.view
        if not isinstance(view, VideoView) and rate != int(rate):
            raise UsageError(f"rate of samples must be a whole number a second, not {rate}")
        clip = (
            Frames(array, rate, view)
            if isinstance(view, VideoView)
            else Samples(array, int(rate), view)
        )
        starts = [max(0.0, clip.duration_seconds - view.seconds) / 2]
        if every_seconds is not None:
            count = num_windows_every(view, every_seconds, clip.duration_seconds)
            starts = [number * every_seconds for number in range(count)]
        return np.stack([clip.window(*each) for each in zip(starts, itertools.count(first))])

    def _array_batches(self, windows: np.ndarray) -> Iterator[Batch]:
        for first in range(0, len(windows), self._num_rows):
            some = windows[first : first + self._num_rows]
            blanks = np.zeros((self._num_rows - len(some), *some.shape[1:]), some.dtype)
            mask = np.arange(self._num_rows) < len(some)
            row = np.arange(self._num_rows, dtype=np.int32)
            yield {"views": {VIEW: np.concatenate([some, blanks])}, "row": row, "mask": mask}

    def _rows_of(self, batches: Iterable[Batch]) -> np.ndarray:
        """float32 [windows, dim]"""
        parts = []
        for batch in batches:
            seen = {"views": batch["views"], "row": batch["row"]}
            placed = jax.device_put(seen, batch_sharding(self._mesh))
            parts.append(np.asarray(self._forward(self._placed, placed))[batch["mask"]])
        return np.concatenate(parts).astype(np.float32)

    @functools.cached_property
    def _mesh(self) -> jax.sharding.Mesh:
        return local_mesh()

    @property
    def _num_rows(self) -> int:
        """The batch size, made a multiple of the devices."""
        return -(-self.batch_size // self._mesh.size) * self._mesh.size

    @functools.cached_property
    def _placed(self) -> Any:
        return jax.device_put(self.variables, replicated(self._mesh))

    @functools.cached_property
    def _forward(self) -> Any:
        model, read, name = self._seeing.model, self._seeing.read, self.name

        def forward(variables: Mapping[str, Any], batch: Batch) -> jax.Array:
            given = {item: {"encoders": {name: tree}} for item, tree in variables.items()}
            key = purpose_key(jax.random.key(0), "evaluation")
            features, _ = model.features(given, batch, key, train=False)
            return features[read].embedding

        sharding = batch_sharding(self._mesh)
        return jax.jit(
            forward, in_shardings=(replicated(self._mesh), sharding), out_shardings=sharding
        )
