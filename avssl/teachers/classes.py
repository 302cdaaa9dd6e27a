"""Whether the classes that a teacher names are those that its student learns."""

from collections.abc import Sequence

from avssl.console import say
from avssl.data.record import Source
from avssl.errors import UsageError


def check_classes(
    name: str, num_logits: int, classes: Sequence[str] | None, source: Source
) -> None:
    """Refuses logits whose columns are not the classes of the data, in number and order."""
    ours = tuple(source.label_names)
    if not ours:  # then there is no label that they could contradict
        return
    remedy = "teach without labels (label_weight=0), or by a teacher of the same classes"
    if num_logits != len(ours):
        raise UsageError(
            f"teacher '{name}' knows {num_logits} classes and {source.spec} has {len(ours)}: {remedy}"
        )
    if classes is None:
        say(
            f"teacher '{name}': the names of its classes are not known, and taken to be those of the data"
        )
        return
    if odd := first_difference(classes, ours):
        number, theirs, own = odd
        raise UsageError(
            f"teacher '{name}' has other classes than {source.spec}: number {number} is '{theirs}' there "
            f"and '{own}' here; {remedy}"
        )


def check_alike(
    name: str, classes: Sequence[str] | None, other: str, others: Sequence[str] | None
) -> None:
    """Refuses two teachers of one classifier whose columns are not of the same classes, if they are known."""
    if odd := first_difference(classes or (), others or ()):
        number, ours, theirs = odd
        raise UsageError(
            f"teachers '{name}' and '{other}' teach one classifier and have other classes: number {number} is "
            f"'{ours}' of the one and '{theirs}' of the other; give them an objective each"
        )


def first_difference(classes: Sequence[str], others: Sequence[str]) -> tuple[int, str, str] | None:
    """The first number that has two names, with both."""
    pairs = enumerate(zip(classes, others, strict=False))
    return next(((number, *pair) for number, pair in pairs if pair[0] != pair[1]), None)
