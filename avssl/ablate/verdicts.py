"""Claims against what was measured: a sentence of numbers, and whether the claim holds.

It holds, or does not, where all seeds say the same. Where they do not, a mean would be a matter of luck.
"""

import statistics

from avssl.ablate.measured import Measured, mean_shown
from avssl.ablate.plan import Cell, Claim, PartOfWay, WithGain
from avssl.evaluate.rows import Row, less_is_better, shown

NOT_MEASURED = "not measured"
SEEDS_DISAGREE = "seeds disagree"
# Differences of fractions that were written in decimals are off by a rounding.
ROUNDING = 1e-9
# Less than the table shows is no difference.
LEAST_DIFFERENCE = 0.0005


def judged(claim: Claim, measured: Measured) -> tuple[str, str]:
    """What was measured over the seeds that both sides have, and whether the claim holds."""
    missing = [
        measured.lacking(cell) for cell in claim.cells() if not measured.of(cell.row, cell.key)
    ]
    own = measured.of(claim.cell.row, claim.cell.key)
    sides = {seed: reference(claim, row, seed, measured) for seed, row in own.items()}
    pairs = [(own[seed].value, side) for seed, side in sides.items() if side is not None]
    if claim.above == "random_init" or isinstance(claim.above, PartOfWay):
        told = f"{claim.cell.row} has no random initialisation in {' '.join(claim.cell.key)}"
        missing += [told for row in own.values() if row.random_init is None]
    if not pairs:
        lacking = f": {', '.join(dict.fromkeys(missing))}" if missing else " with the same seed"
        return f"{NOT_MEASURED}{lacking}", "–"
    values, references = (list(side) for side in zip(*pairs, strict=True))
    difference = statistics.mean(values) - statistics.mean(references)
    holding = sum(holds(claim, value - side) for value, side in pairs)
    metric, sign = claim.cell.metric, better_by(claim)
    fixed = isinstance(claim.above, float | int)
    against = shown(metric, references[0]) if fixed else mean_shown(metric, references)
    needed = f" (needs {100 * sign * claim.margin:+.1f})" if claim.margin else ""
    text = (
        f"{mean_shown(metric, values)} against {against} ({named(claim)}), "
        f"{100 * difference:+.1f} points{needed}, in {holding} of {len(pairs)} "
        f"seed{'s' if len(pairs) > 1 else ''}"
    )
    return text, verdict(holding, len(pairs))


def verdict(holding: int, num_seeds: int) -> str:
    if 0 < holding < num_seeds:
        return SEEDS_DISAGREE
    return f"{'yes' if holding else 'no'}{' (one seed)' if num_seeds == 1 else ''}"


def reference(claim: Claim, row: Row, seed: int, measured: Measured) -> float | None:
    """What the claimed cell is compared with at this seed, if that was measured."""

    def value(cell: Cell) -> float | None:
        other = measured.of(cell.row, cell.key).get(seed)
        return None if other is None else other.value

    match claim.above:
        case Cell() as cell:
            return value(cell)
        case WithGain(cell, better, worse):
            here, more, less = value(cell), value(better), value(worse)
            if here is None or more is None or less is None:
                return None
            sign = better_by(claim)
            return here + sign * max(sign * (more - less), 0.0)
        case PartOfWay(fraction, cell):
            upper, random = value(cell), row.random_init
            if upper is None or random is None:
                return None
            return random + fraction * (upper - random)
        case "random_init":
            return row.random_init
        case "chance":
            return row.chance
    return claim.above


def better_by(claim: Claim) -> int:
    """The sign of a difference that speaks for the claim."""
    return -1 if less_is_better(claim.cell.metric) else 1


def holds(claim: Claim, difference: float) -> bool:
    """A bar or a margin may be just reached; what must be better must be seen to be."""
    difference *= better_by(claim)
    if claim.margin or isinstance(claim.above, float | int | PartOfWay):
        return difference >= claim.margin - ROUNDING
    return difference >= LEAST_DIFFERENCE


def named(claim: Claim) -> str:
    match claim.above:
        case Cell() as cell:
            same = cell.key == claim.cell.key
            return cell.row if same else f"{cell.row} {' '.join(cell.key)}"
        case WithGain(cell, better, worse):
            where = " ".join(better.key)
            return (
                f"{cell.row} and what {better.row} gains over {worse.row}, if anything, in {where}"
            )
        case PartOfWay(fraction, cell):
            return f"{fraction:.0%} of the way from random initialisation to {cell.row}"
        case "random_init":
            return "random initialisation"
        case "chance":
            return "chance"
    return "bar"


def bar(claim: Claim) -> str:
    """What a claim asks for, other than to beat another row."""
    margin = better_by(claim) * claim.margin
    points = f" {100 * margin:+.1f}" if margin else ""
    match claim.above:
        case Cell() | WithGain():
            return ""
        case PartOfWay(fraction, cell):
            return f"{fraction:.0%} of the way to {cell.row}{points}"
        case "random_init":
            return f"random{points}"
        case "chance":
            return f"chance{points}"
    return shown(claim.cell.metric, claim.above + margin)
