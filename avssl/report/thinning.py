"""Long curves with fewer points that look the same: the peaks stay."""

from collections.abc import Sequence

Point = tuple[float, float | None]


def thinned(points: Sequence[Point], most: int) -> list[Point]:
    """At most `most` of the points: of each stretch the lowest and the highest, and a gap where one is.

    A value of None is a gap: a number that was not finite. The first and the last point stay.
    """
    if len(points) <= most:
        return list(points)
    inner = points[1:-1]
    num_stretches = max((most - 2) // 3, 1)
    kept: set[int] = set()
    for stretch in range(num_stretches):
        start = stretch * len(inner) // num_stretches
        places = range(start, (stretch + 1) * len(inner) // num_stretches)
        known = [place for place in places if inner[place][1] is not None]
        if known:
            kept.add(min(known, key=lambda place: inner[place][1] or 0.0))
            kept.add(max(known, key=lambda place: inner[place][1] or 0.0))
        if len(known) < len(places):
            kept.add(next(place for place in places if inner[place][1] is None))
    return [points[0], *(inner[place] for place in sorted(kept)), points[-1]]
