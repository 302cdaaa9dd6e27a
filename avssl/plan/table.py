"""An estimate as lines for a person, or as one row among others."""

from collections.abc import Iterator

from avssl.plan.estimate import Estimate, Layout, Work
from avssl.plan.topology import Topology

COLUMNS = (
    "topology", "chips", "batch", "memory GiB", "fits", "state GiB", "temporary GiB", "GFLOP", "GB moved",
    "MB sent", "bound by", "ms at best", "clips/s at best",
)  # fmt: skip
PARAMETERS = "params GiB"


def layout_lines(layout: Layout) -> Iterator[str]:
    """What is known at once. All figures are for one device and one step unless they say otherwise."""
    topology, config = layout.topology, layout.setup.config
    chips = f"{topology.num_chips} chips{of_devices(topology)}"
    mesh = " x ".join(f"{name} {size}" for name, size in layout.setup.mesh.shape.items())
    yield (
        f"{topology.name}: {chips}, {mesh}; batch {config.batch_size}, "
        f"{config.batch_size / topology.num_chips:g} a chip; {config.precision}"
    )
    for name, size in layout.held.items():
        yield f"{name:<14}{size / 2**30:10.3f} GiB"


def of_devices(topology: Topology) -> str:
    """Said where a chip is not one device, which all figures are of."""
    several = topology.devices_per_chip
    return f" of {several} devices each (figures are of one)" if several > 1 else ""


def estimate_lines(one: Estimate) -> Iterator[str]:
    """What the compiled program adds."""
    limit = f" of {one.limit_bytes / 2**30:.2f}" if one.limit_bytes else ""
    verdict = "" if one.limit_bytes is None else ": fits" if one.fits else ": DOES NOT FIT"
    work = one.work
    if work:
        yield f"{'temporary':<14}{work.temporary / 2**30:10.3f} GiB  activations, gradients, workspace"
    yield f"{'peak':<14}{one.peak_bytes / 2**30:10.3f} GiB{limit}{verdict}"
    if work:
        yield from work_lines(work)
        yield from speed_lines(one)
    yield f"compiled in {one.compile_seconds:.0f} s"


def work_lines(work: Work) -> Iterator[str]:
    counted = f"  ({work.counted})" if work.counted else ""
    yield f"{'FLOPs':<14}{work.flops / 1e9:10.1f} G{counted}"
    yield f"{'moved':<14}{work.bytes_moved / 1e9:10.2f} GB to and from memory"
    for kind in sorted(work.collectives.keys() | work.least_sent.keys()):
        runs, sent = work.collectives.get(kind, (0, 0.0))
        least = work.least_sent.get(kind, 0.0)
        yield f"{kind:<14}{sent / 1e6:10.1f} MB sent by {runs}; parameters alone {least / 1e6:.1f}"
    if work.least_bytes_sent:
        times = work.bytes_sent / work.least_bytes_sent
        yield f"{'sent in all':<14}{work.bytes_sent / 1e6:10.1f} MB, {times:.2f} times the parameters alone"


def speed_lines(one: Estimate) -> Iterator[str]:
    if (chip := one.topology.chip) is None:
        yield "of simulated devices no peak is known: no roofline"
        return
    for roof in one.roofs:
        yield f"{roof.name:<14}{1e3 * roof.seconds:10.2f} ms at its peak"
    yield (
        f"bound by {one.roofs[0].name}: at best {one.clips_per_second:,.0f} clips/s, and "
        f"{one.chip_hours:,.1f} chip-hours for {one.layout.setup.config.steps:,} steps (peaks: {chip.source})"
    )


def row(one: Estimate) -> dict[str, str]:
    """By the names of `COLUMNS`, and the memory of the parameters."""
    work, roofs = one.work, one.roofs
    cells = refused_row(one.topology, one.layout.batch_size) | {
        "memory GiB": f"{one.peak_bytes / 2**30:.2f}",
        "state GiB": f"{one.layout.held_bytes / 2**30:.2f}",
        PARAMETERS: f"{one.layout.held.get('params', 0) / 2**30:.3f}",
    }
    if one.limit_bytes is not None:
        cells["fits"] = "yes" if one.fits else "no"
    if work:
        at_least = "" if work.is_whole else "≥ "
        cells["temporary GiB"] = f"{work.temporary / 2**30:.2f}"
        cells["GFLOP"] = f"{at_least}{work.flops / 1e9:.1f}"
        cells["GB moved"] = f"{at_least}{work.bytes_moved / 1e9:.2f}"
        cells["MB sent"] = f"{at_least}{work.bytes_sent / 1e6:.1f}"
    if roofs:
        cells["bound by"] = roofs[0].name
        cells["ms at best"] = f"{1e3 * roofs[0].seconds:.2f}"
        cells["clips/s at best"] = f"{one.clips_per_second:,.0f}"
    return cells


def refused_row(topology: Topology, batch_size: int | str) -> dict[str, str]:
    """All that is known of a step which nobody compiled."""
    cells = dict.fromkeys((*COLUMNS, PARAMETERS), "–")
    cells["topology"], cells["chips"] = topology.name, str(topology.num_chips)
    return cells | {"batch": str(batch_size)}
