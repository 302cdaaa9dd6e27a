"""From power to decibel, and from decibel to numbers that a network likes."""

from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from avssl.errors import UsageError, unknown

# A value for all bins, or one for each.
Statistic = float | int | tuple[float | int, ...]


class Shipped(NamedTuple):
    """Statistics that hold for one front end at one rate only."""

    rate: int
    num_bins: int


# The per-bin means and standard deviations that the authors of AVID-CMA and AVSA trained with.
SHIPPED = {"avid": Shipped(24000, 257), "avsa": Shipped(24000, 128)}
# Both add it to the standard deviation.
SHIPPED_EPSILON = 1e-5


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


def read_statistics(name: str, *, rate: int, num_bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and divisor per bin of the shipped statistics `name`."""
    if name not in SHIPPED:
        raise unknown("statistics", name, SHIPPED)
    if SHIPPED[name] != (rate, num_bins):
        expected = SHIPPED[name]
        raise UsageError(
            f"statistics '{name}' are for {expected.num_bins} bins at {expected.rate} Hz, not "
            f"{num_bins} bins at {rate} Hz; set statistics to None, and a mean and std instead"
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
        per_bin = read_statistics(statistics, rate=rate, num_bins=num_bins)
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
