"""Class-balanced sampling: each class as often as any other, whatever the numbers of their records."""

from collections.abc import Sequence

import numpy as np

from avssl.console import say
from avssl.data.record import Source, known_class_sets
from avssl.errors import UsageError


def class_parts(source: Source, indices: np.ndarray) -> list[np.ndarray]:
    """The records of each class that has any, for `Pipeline(parts=...)`; one of several classes is in each.

    Kong et al. 2020 (PANNs, arXiv 1912.10211, section III-D): clips are drawn from the classes in turn, each
    class in an order of its own that begins anew when it is through. A record of no class is never drawn.
    """
    if len(getattr(source, "parts", ())) > 1:
        raise UsageError(
            "data.class_balanced cannot be joined with the weights of a mix: take one source, or switch it off"
        )
    sets, _ = known_class_sets(source, indices)
    parts = [np.asarray(indices)[of_class] for of_class in sets.T if of_class.any()]
    if len(parts) < 2:
        raise UsageError(
            f"data.class_balanced needs records of two classes at least; those of {source.spec} have "
            f"{len(parts) or 'none'}"
        )
    if lost := int(np.count_nonzero(~sets.any(axis=1))):
        say(
            f"data: {lost} of {len(sets)} records have no class and are not drawn (data.class_balanced)"
        )
    return parts


def num_distinct(parts: Sequence[np.ndarray]) -> int:
    return len(np.unique(np.concatenate(parts)))
