"""Modality alignment: gives the clusters of SeLaVi's audio heads the order of the video heads'."""

from typing import Any

import jax
import numpy as np
from jax.typing import ArrayLike
from scipy.optimize import linear_sum_assignment


def best_permutation(cost: ArrayLike) -> np.ndarray:
    """The permutation with the least sum_i cost[i, permutation[i]] (Hungarian algorithm, on the host).

    Departure: Asano et al. 2020 (arXiv 2006.13662) search by 50,000 random swaps with 2 restarts; the optimum
    needs no seed and is what that search is after.
    """
    values = np.asarray(cost, np.float64)
    if not np.isfinite(values).all():
        raise ValueError("the modalities cannot be aligned: their posteriors are not finite")
    return linear_sum_assignment(values)[1]


def permute_outputs(layer: Any, permutation: np.ndarray) -> Any:
    """A head's last layer (kernel and bias, or their moments) with its outputs reordered.

    Output i of the result is output permutation[i] of `layer`; outputs are the last axis of every leaf.
    """
    return jax.tree.map(lambda leaf: leaf[..., permutation], layer)
