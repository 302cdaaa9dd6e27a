"""In how many parts an objective compares the clips of a batch with all others (`avssl/losses/blocks.py`)."""

from avssl.errors import UsageError
from avssl.objectives.base import Batch


def num_blocks(blocks: int | None, batch: Batch, *, train: bool, key: str) -> int:
    """`blocks` of a config, None being one. An evaluation has batches of its own size, and takes them whole.

    key: where the objective stands in a config.
    """
    if blocks is None or not train:
        return 1
    batch_size = len(batch["index"])
    if blocks < 1 or batch_size % blocks:
        raise UsageError(f"{key}.blocks is a divisor of the batch of {batch_size}, not {blocks}")
    return blocks
