"""What a chip can do at best: the peaks that rooflines are made of."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Chip:
    """Peaks of one chip; one that shows as several devices gives each of them its share.

    flops_per_second: of bf16 products, which float32 ones are made of too, unless a precision is asked for.
    link_bytes_per_second: what one chip can send to its neighbours, all links together, in one direction
    (half of the published bidirectional figure).
    """

    name: str
    flops_per_second: float
    memory_bytes_per_second: float
    memory_bytes: float
    link_bytes_per_second: float
    devices: int
    source: str


GIB = 2**30
DOCS = "https://docs.cloud.google.com/tpu/docs/"

CHIPS = {
    chip.name: chip
    for chip in (
        Chip("v4", 275e12, 1200e9, 32 * GIB, 300e9, 2, DOCS + "v4"),
        Chip("v5e", 197e12, 819e9, 16 * GIB, 200e9, 1, DOCS + "v5e"),
        Chip("v5p", 459e12, 2765e9, 95 * GIB, 600e9, 1, DOCS + "v5p"),
        Chip("v6e", 918e12, 1638e9, 32 * GIB, 400e9, 1, DOCS + "v6e"),
        Chip("tpu7x", 2307e12, 7380e9, 192 * GIB, 600e9, 2, DOCS + "tpu7x"),
    )
}
