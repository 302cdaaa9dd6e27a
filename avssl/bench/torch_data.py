"""A good PyTorch DataLoader with PyAV over the same windows, for `avssl bench data --vs torch`.

Each worker decodes by one thread from the keyframe before a window to its end, scales only the frames
that are shown and crops them as the pipeline does; batches are uint8 and int16, as the pipeline's are.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from torch.utils.data import DataLoader, Dataset  # pyright: ignore[reportMissingImports]

from avssl.bench.bare import bare_clip
from avssl.bench.windows import Window
from avssl.data.decoded import crop_frames
from avssl.data.placement import place_in_space
from avssl.data.record import Source
from avssl.data.views import VideoView, View
from avssl.errors import UsageError


class Clips(Dataset):
    """Item k is window k of the list, which begins anew at its end."""

    def __init__(self, source: Source, windows: Sequence[Window], length: int, seed: int):
        self.source, self.windows, self.length, self.seed = source, windows, length, seed

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
        window = self.windows[number % len(self.windows)]
        decoded = bare_clip(self.source[window.index].media, window.starts)
        return {
            repr(view): torch.from_numpy(self._cropped(array, view, window.position))
            for array, (view, _) in zip(decoded, window.starts, strict=True)
        }

    def _cropped(self, array: np.ndarray, view: View, position: int) -> np.ndarray:
        if not isinstance(view, VideoView):
            return array
        height, width = array.shape[1:3]
        crop = place_in_space(
            view, frame_width=width, frame_height=height, seed=self.seed, position=position
        )
        out = np.empty(*view.array)
        crop_frames(array, np.arange(len(array)), crop, view.size, out)
        return out


def torch_loader(
    source: Source,
    views: Mapping[str, View],
    windows: Sequence[Window],
    *,
    num_batches: int,
    batch_size: int,
    seed: int,
    workers: int = 0,
) -> DataLoader:
    for name, view in views.items():
        if view.windows > 1 or getattr(view, "projection", "flat") != "flat":
            raise UsageError(f"`--vs torch` reads one flat window a view; view '{name}' has others")
        if getattr(view, "stream", ""):
            raise UsageError(f"`--vs torch` reads the default video track; '{name}' shows another")
    if any(len(window.starts) < len(set(views.values())) for window in windows):
        raise UsageError("`--vs torch` needs records with both sound and pictures")
    torch.set_num_threads(1)
    return DataLoader(
        Clips(source, windows, num_batches * batch_size, seed),
        batch_size=batch_size,
        num_workers=workers,
        # Forking a process that has threads may leave a lock locked in the child.
        multiprocessing_context="spawn" if workers else None,
    )
