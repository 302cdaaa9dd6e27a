"""From power to decibel, and from decibel to numbers that a network likes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from avssl.errors import UsageError, unknown

# A value for all bins, or one for each.
Statistic = float | int | tuple[float | int, ...]


class Shipped(NamedTuple):
    """Statistics that hold at one rate, for one front end with such values of its keys."""

    rate: int
    frontend: str
    keys: Mapping[str, tuple[Any, ...]]


# The per-bin means and standard deviations that the authors of AVID-CMA and AVSA trained with.
SHIPPED = {
    "avid": Shipped(
        24000, "StftDecibel", {"fft_size": (1024,), "pair_bins": (True,), "top_db": (100,)}
    ),
    "avsa": Shipped(
        24000,
        "LogMel",
        {
            "num_mels": (128,), "fft_size": (512,), "window_samples": (None, 512), "power": (1,),
            "mel_scale": ("slaney",), "equal_area": (True,), "min_hz": (0,), "max_hz": (None, 12000),
            "top_db": (100,),
        },
    ),
}  # fmt: skip
# Both add it to the standard deviation.
SHIPPED_EPSILON = 1e-5
OWN_INSTEAD = "set statistics to None, and a mean and std instead"


def decibel(
    power: Float[Array, "b c t f"], *, floor: float, top_db: float | int | None, over: str
) -> Float[Array, "b c t f"]:
    """`librosa.power_to_db(ref=1)`: 10 log10 max(power, floor), at least the maximum less `top_db`.

    The maximum is taken over each clip, or over each channel of it. Never over the batch: a clip's
    features must not depend on its neighbours.
    """
    level = 10.0 * jnp.log10(jnp.maximum(power, floor))
    if top_db is None:
        return level
    axes = (1, 2, 3) if over == "clip" else (2, 3)
    loudest = jnp.max(level, axis=axes, keepdims=True)
    return jnp.maximum(level, loudest - top_db)


def check_statistics(frontend: Any, name: str) -> None:
    """Refuses the shipped statistics `name` for numbers that they were not taken of."""
    if name not in SHIPPED:
        raise unknown("statistics", name, SHIPPED)
    shipped, kind = SHIPPED[name], type(frontend).__name__
    if kind != shipped.frontend:
        raise UsageError(
            f"statistics '{name}' are for the front end {shipped.frontend}, not {kind}; {OWN_INSTEAD}"
        )
    for key, values in shipped.keys.items():
        if getattr(frontend, key) not in values:
            raise UsageError(
                f"statistics '{name}' are for {key}={values[0]!r}, not {getattr(frontend, key)!r}; "
                f"{OWN_INSTEAD}"
            )


def read_statistics(name: str, *, rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and divisor per bin of the shipped statistics `name`."""
    if SHIPPED[name].rate != rate:
        raise UsageError(
            f"statistics '{name}' are for {SHIPPED[name].rate} Hz, not {rate} Hz; {OWN_INSTEAD}"
        )
    with np.load(Path(__file__).with_name(f"statistics_{name}.npz")) as stored:
        return stored["mean"], stored["std"] + SHIPPED_EPSILON


def standardize(
    level: Float[Array, "b c t f"],
    *,
    mean: Statistic,
    std: Statistic,
    statistics: str | None,
    rate: int,
) -> Float[Array, "b c t f"]:
    """(level - mean) / std, each one number, one per bin, or the shipped `statistics`."""
    num_bins = level.shape[-1]
    if statistics is not None:
        per_bin = read_statistics(statistics, rate=rate)
    elif (mean, std) == (0.0, 1.0):
        return level
    else:
        per_bin = tuple(
            _one_per_bin(name, s, num_bins) for name, s in (("mean", mean), ("std", std))
        )
    mean_row, std_row = (jnp.asarray(s, level.dtype)[None, None, None] for s in per_bin)
    return (level - mean_row) / std_row


def _one_per_bin(name: str, statistic: Statistic, num_bins: int) -> np.ndarray:
    values = np.atleast_1d(np.asarray(statistic, np.float64))
    if values.shape not in ((1,), (num_bins,)):
        raise UsageError(
            f"'{name}' of a frontend has {len(values)} values for {num_bins} bins; "
            "give one, or one for each bin"
        )
    return np.broadcast_to(values, (num_bins,))
