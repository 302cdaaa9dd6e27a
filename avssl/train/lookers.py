"""Who looks at clips: the objectives, and the teachers that compute in the step.

Each must find some that show it all it needs together: its loss is 0 for ever otherwise.
"""

import dataclasses
from collections.abc import Collection

from avssl.errors import UsageError
from avssl.train.model import Model

INCOMPLETE = "incomplete_clips"


@dataclasses.dataclass(frozen=True)
class Looker:
    """key: in the logs, of how many clips of a step lack something that it looks at."""

    called: str
    key: str
    views: tuple[str, ...]
    modalities: tuple[str, ...]

    @property
    def wants(self) -> str:
        """In words, what a clip must have."""
        return " and ".join(self.modalities) or "video or audio"

    def refusal(self, clips: str, spec: str) -> UsageError:
        """clips: of which none will do, as `the first 100 clips`; of the source `spec`."""
        views = "s" * (len(self.views) > 1)
        return UsageError(
            f"{self.called} needs clips with {self.wants}"
            + (f" (view{views} {in_quotes(self.views)})" if self.views else "")
            + f", and none of {clips} of {spec} has that: take data with such clips; `avssl data inspect` "
            "shows what these hold"
        )


def lookers(model: Model) -> tuple[Looker, ...]:
    """All objectives together by what every clip must have; then each that looks at more, of which a few do."""
    table, found = model.without_teachers().views, []
    needed = {name for one in model.objectives.values() for name in one.needed_views(table)}

    def add(called: str, key: str, views: Collection[str]) -> None:
        names = tuple(sorted(views))
        modalities = tuple(sorted({model.views[name].modality for name in names}))
        found.append(Looker(called, key, names, modalities))

    plural = "s" * (len(model.objectives) > 1)
    add(f"objective{plural} {in_quotes(model.objectives)}", INCOMPLETE, needed)
    for name, one in model.objectives.items():
        if more := one.views_of_some(table).keys() - needed:
            add(f"objective '{name}'", f"{name}/{INCOMPLETE}", needed | more)
    for name, one in model.taught.items():
        # What a store has is known when it is opened.
        if not one.stored and one.view not in needed:
            add(f"teacher '{name}'", f"teachers/{name}/{INCOMPLETE}", needed | {one.view})
    return tuple(found)


def in_quotes(names: Collection[str]) -> str:
    return " and ".join(f"'{name}'" for name in names)
