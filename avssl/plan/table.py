"""An estimate as lines for a person, or as one row among others."""

from collections.abc import Iterator

from avssl.plan.estimate import Estimate, Layout, Work

COLUMNS = (
    "topology", "chips", "batch", "memory GiB", "fits", "state GiB", "temporary GiB", "GFLOP", "GB moved",
    "MB sent", "bound by", "ms at best", "clips/s at best",
)  # fmt: skip


def layout_lines(layout: Layout) -> Iterator[str]:
    """What is known at once. All figures are for one device and one step unless they say otherwise."""
    topology, config = layout.topology, layout.setup.config
    mesh = " x ".join(f"{name} {size}" for name, size in layout.setup.mesh.shape.items())
    yield (
        f"{topology.name}: {topology.num_chips} chips, {mesh}; batch {config.batch_size}, "
        f"{config.batch_size / topology.num_chips:g} a chip; {config.precision}"
    )
    for name, size in layout.held.items():
        yield f"{name:<14}{size / 2**30:10.3f} GiB"


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
    counted = "  (loops as often as they run)" if work.has_loops else ""
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


def row(one: Estimate) -> tuple[str, ...]:
    """In the order of `COLUMNS`."""
    work, roofs = one.work, one.roofs
    return (
        one.topology.name,
        str(one.topology.num_chips),
        str(one.layout.batch_size),
        f"{one.peak_bytes / 2**30:.2f}",
        "yes" if one.fits else "no",
        f"{one.layout.held_bytes / 2**30:.2f}",
        f"{work.temporary / 2**30:.2f}" if work else "–",
        f"{work.flops / 1e9:.1f}" if work else "–",
        f"{work.bytes_moved / 1e9:.2f}" if work else "–",
        f"{work.bytes_sent / 1e6:.1f}" if work else "–",
        roofs[0].name if roofs else "–",
        f"{1e3 * roofs[0].seconds:.2f}" if roofs else "–",
        f"{one.clips_per_second:,.0f}" if roofs else "–",
    )
