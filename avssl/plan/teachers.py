"""Teachers of a run that is only planned: neither their weights nor the data need to be here."""

import dataclasses
from pathlib import Path

from avssl.config import ConfigDict, from_json
from avssl.console import say
from avssl.teachers.open import NO_TEACHERS, Teachers, open_teachers
from avssl.teachers.spec import is_function


@dataclasses.dataclass(frozen=True)
class NoData:
    """What a teacher asks of the data where nobody opens them: their classes are not known."""

    spec: str
    label_names: tuple[str, ...] = ()


def planned_teachers(config: ConfigDict) -> tuple[ConfigDict, Teachers]:
    """As of a run, but one that is not here, or answers from a store, is a random network in the step.

    That is what the most is needed for; a store would add its targets to the batch instead.
    """
    if not config.teachers:
        return config, NO_TEACHERS
    config = from_json(config.to_dict())
    for name, teacher in config.teachers.items():
        run = Path(teacher.run)
        here = teacher.run and (is_function(teacher.run) or (run / "config.json").exists())
        if teacher.store or (teacher.run and not here):
            missing = (
                f"the store {teacher.store}" if teacher.store else f"{teacher.run} is not here"
            )
            say(f"teacher '{name}': {missing}: planned as encoders.{teacher.encoder} in the step")
            teacher.update(run="", store="", hash="")
    # The protocol of sources is wider than what is asked of them here.
    source: object = NoData(config.data.source)
    return open_teachers(config, source)  # pyright: ignore[reportArgumentType]
