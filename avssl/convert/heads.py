"""The heads that go with encoders: what makes them teachers of logits or of boxes."""

from collections.abc import Sequence
from pathlib import Path

from avssl.errors import UsageError
from avssl.teachers.teacher import classifier_of, detector_of
from avssl.train.model import Model


def heads_of(model: Model, encoders: Sequence[str], run: Path) -> tuple[str, ...]:
    """The objectives by which the encoders teach, in the order of the run.

    Refuses an encoder that none of them reads, and those that need what does not go with these encoders.
    """
    teaching = {encoder: teaching_by(model, encoder) for encoder in encoders}
    chosen = {name for names in teaching.values() for name in names}
    heads = tuple(name for name in model.objectives if name in chosen)
    for name in heads:
        check_goes_along(model, name, encoders, run)
    read = {read.encoder for name in heads for read in model.objectives[name].reads()}
    for encoder in encoders:
        if encoder not in read:
            able = ",".join(other for other in encoders if other in read)
            hint = f"export the others alone (--encoders {able}), or " if able else ""
            raise UsageError(
                f"no objective of {run} classifies or detects by what its encoder '{encoder}' gives: {hint}"
                "leave out --heads"
            )
    return heads


def teaching_by(model: Model, encoder: str) -> list[str]:
    _, classifier = classifier_of(model, encoder)
    return [one.key for one in (classifier, detector_of(model, encoder)) if one is not None]


def check_goes_along(model: Model, name: str, encoders: Sequence[str], run: Path) -> None:
    objective = model.objectives[name]
    if objective.targets():
        raise UsageError(
            f"objective '{name}' of {run} has teachers, which no file of encoders holds: leave out --heads"
        )
    needed = dict.fromkeys(read.encoder for read in objective.reads())
    lacking = [encoder for encoder in needed if encoder not in encoders]
    if lacking:
        raise UsageError(
            f"objective '{name}' of {run} also reads its encoder '{lacking[0]}': export them together "
            f"(--encoders {','.join([*encoders, *lacking])}), or leave out --heads"
        )
