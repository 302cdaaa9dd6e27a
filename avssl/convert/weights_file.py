"""Weights of other programs as arrays by name: safetensors files, and PyTorch's own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from avssl.convert.encoder_file import SUFFIX, read_arrays
from avssl.data.keys import printable
from avssl.errors import UsageError

TORCH_SUFFIXES = (".pth", ".pt", ".tar", ".bin", ".ckpt")
# Where training programs put a state_dict beside their own notes.
WITHIN = ("state_dict", "model")
# Of a network that several GPUs trained.
OF_SEVERAL = "module."


def read_state(file: Path) -> dict[str, np.ndarray]:
    """A state_dict, also one that lies under `state_dict` or `model`, or has `module.` before its keys."""
    shown = printable(str(file))
    if not file.is_file():
        raise UsageError(f"'{shown}' is no file")
    if file.suffix == SUFFIX:
        state = read_arrays(file)
    elif file.suffix in TORCH_SUFFIXES:
        state = read_torch(file)
    else:
        raise UsageError(
            f"'{shown}' is none of {SUFFIX}, {', '.join(TORCH_SUFFIXES)}: name a file of weights"
        )
    if state and all(key.startswith(OF_SEVERAL) for key in state):
        state = {key.removeprefix(OF_SEVERAL): array for key, array in state.items()}
    return state


def read_torch(file: Path) -> dict[str, np.ndarray]:
    """Without running what a stranger's pickle says."""
    shown = printable(str(file))
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError as error:
        raise UsageError(
            f"'{shown}' is a file of PyTorch: pip install 'avssl[torch]' to read it, or save its state_dict as "
            f"{SUFFIX} elsewhere"
        ) from error
    try:
        loaded = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged or strange pickle raises
        why = next(iter(str(error).splitlines()), type(error).__name__)
        raise UsageError(
            f"'{shown}' is no file of PyTorch with weights alone, and more may run code and is not read: save "
            f"its state_dict by itself ({why})"
        ) from error
    return {key: as_numpy(leaf, torch) for key, leaf in state_in(loaded, shown, torch).items()}


def state_in(loaded: Any, shown: str, torch: Any) -> Mapping[str, Any]:
    for key in WITHIN:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    sound = isinstance(loaded, Mapping) and all(
        isinstance(key, str) and isinstance(leaf, torch.Tensor) for key, leaf in loaded.items()
    )
    if not sound:
        raise UsageError(
            f"'{shown}' holds no state_dict, nor one under {' or '.join(WITHIN)}: save that by itself"
        )
    return loaded


def as_numpy(leaf: Any, torch: Any) -> np.ndarray:
    # NumPy has no bfloat16.
    return (leaf.to(torch.float32) if leaf.is_floating_point() else leaf).numpy()
