"""What a chip can do at best, the peaks that rooflines are made of, and the slices that can be booked of it."""

import dataclasses
import math
from collections.abc import Sequence

FLAT = ("2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
CUBES = (
    "2x2x1", "2x2x2", "2x2x4", "2x4x4", "4x4x4", "4x4x8", "4x8x8", "8x8x8", "8x8x16", "8x16x16", "16x16x16",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Chip:
    """Peaks of one chip; one that shows as several devices gives each of them its share.

    flops_per_second: of bf16 products, which float32 ones are made of too, unless a precision is asked for.
    memory_bytes: what a program may use, as libtpu says of one that is too large.
    link_bytes_per_second: what one chip can send to its neighbours, all links together, in one direction
    (half of the published bidirectional figure). sizes: of slices; of three sides there are others, up to
    `most_chips`. core_mode: libtpu's name for cores that work as one device, where that is not its default.
    """

    name: str
    flops_per_second: float
    memory_bytes_per_second: float
    memory_bytes: float
    link_bytes_per_second: float
    devices: int
    sizes: tuple[str, ...]
    most_chips: int
    source: str
    core_mode: str = ""

    def has_slice(self, sides: Sequence[int]) -> bool:
        if "x".join(map(str, sides)) in self.sizes:
            return True
        return (
            self.sizes == CUBES
            and len(sides) == 3
            and all(side % 4 == 0 for side in sides)
            and list(sides) == sorted(sides)
            and math.prod(sides) <= self.most_chips
        )

    @property
    def known_sizes(self) -> str:
        """For a person."""
        others = f", and multiples of four that ascend, up to {self.most_chips:,} chips"
        return ", ".join(self.sizes) + (others if self.sizes == CUBES else "")


GIB = 2**30
DOCS = "https://docs.cloud.google.com/tpu/docs/"

CHIPS = {
    chip.name: chip
    for chip in (
        Chip("v4", 275e12, 1200e9, 30.75 * GIB, 300e9, 1, CUBES, 4096, DOCS + "v4", "megacore"),
        Chip("v5e", 197e12, 819e9, 15.75 * GIB, 200e9, 1, FLAT, 256, DOCS + "v5e"),
        Chip("v5p", 459e12, 2765e9, 95.74 * GIB, 600e9, 1, CUBES, 8960, DOCS + "v5p"),
        Chip("v6e", 918e12, 1638e9, 31.25 * GIB, 400e9, 1, FLAT, 256, DOCS + "v6e"),
        Chip("tpu7x", 2307e12, 7380e9, 2 * 94.75 * GIB, 600e9, 2, CUBES, 9216, DOCS + "tpu7x"),
    )
}
