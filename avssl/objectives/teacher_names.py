"""The teachers that an objective names in its config."""

from avssl.errors import UsageError


def names_of(teachers: str | tuple[str, ...]) -> tuple[str, ...]:
    """The names, as a config or a flag may write them."""
    return tuple(filter(None, (teachers,) if isinstance(teachers, str) else teachers))


def different_teachers(where: str, teachers: str | tuple[str, ...]) -> tuple[str, ...]:
    """The names in the keys `where`, of which there must be one at least and none twice."""
    names = names_of(teachers)
    if not names or len(set(names)) < len(names):
        raise UsageError(f"{where} must name one teacher or several different ones, not {names}")
    return names
