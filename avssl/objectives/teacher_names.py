"""The teachers that an objective names in one key of its config."""

from avssl.errors import UsageError


def different_teachers(config_key: str, teachers: str | tuple[str, ...]) -> tuple[str, ...]:
    """The names, as a config or a flag may write them."""
    names = (teachers,) if isinstance(teachers, str) else tuple(teachers)
    if not names or len(set(names)) < len(names):
        raise UsageError(
            f"{config_key}.teachers must name one teacher or several different ones, not {names}"
        )
    return names
