"""Rows cut into equal blocks, so that no array of (clips x clips) is ever made."""

import numpy as np


def block_rows(num_rows: int, largest: int) -> int:
    """The power of two that holds `num_rows`, at most `largest`.

    Powers of two, because close sizes then share one compilation. Never below 16, because the
    product of a lone row sums each entry in an order of its own: the scores of equal rows would
    differ in the last bit, and ties be missed.
    """
    return min(largest, max(16, 1 << (num_rows - 1).bit_length()))


def in_blocks(rows: np.ndarray, block: int, fill: float) -> np.ndarray:
    """[n, ...] -> [num_blocks, block, ...]; the last block is filled up with `fill`."""
    num_blocks = -(-len(rows) // block)
    missing = num_blocks * block - len(rows)
    padding = np.full((missing, *rows.shape[1:]), fill, rows.dtype)
    return np.concatenate([rows, padding]).reshape(num_blocks, block, *rows.shape[1:])
