"""What a config says of a teacher."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from avssl.data.views import View
from avssl.errors import UsageError, unknown
from avssl.objectives.base import TARGET_KINDS, Objective, Target

PRECISIONS = ("float32", "bf16", "float64")
# What makes a view the same picture or sound to an encoder, whatever is drawn around it.
SEEN = {
    "video": ("frames", "fps", "size", "projection", "stream"),
    "audio": ("seconds", "rate", "channels"),
}
# What does not matter to an encoder that sees each frame by itself.
OF_TIME = ("frames", "fps")
# What does not matter to one that pools sound over time.
OF_LENGTH = ("seconds",)


@dataclasses.dataclass(frozen=True)
class TeacherSpec:
    """`teachers.NAME` of a config; the fields are exactly its keys.

    run: a run folder, whose `encoder` is frozen, or a file of Python with `get_teacher()`, which has none
    (teachers/function.py); empty is a random network of the student's config's
    `encoder`, the baseline of every teacher. view: the student's view that it sees, augmented as the student
    sees it. targets: what it is asked for, of `TARGET_KINDS`. precision: of its arithmetic.
    store: what `avssl teach` wrote; then nothing is computed.

    hash: of its weights and config, or of its store's; shapes: of one clip's targets; classes_are_labels:
    whether its logits are of the classes of the student's data, by name. All are found when the teacher is
    opened. A hash that is stated must be the one that is found, wherever the teacher lies; shapes are stated
    only to plan a run without it.
    """

    run: str = ""
    encoder: str = ""
    view: str = ""
    targets: tuple[str, ...] = ("embedding",)
    precision: str = "float32"
    store: str = ""
    hash: str = ""
    shapes: Mapping[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)
    classes_are_labels: bool = False

    @property
    def is_stored(self) -> bool:
        return bool(self.store)


def is_function(run: str) -> bool:
    """Whether a teacher's `run` is a file of Python."""
    return run.endswith(".py")


def teacher_defaults() -> dict[str, Any]:
    return dataclasses.asdict(TeacherSpec())


def build_spec(name: str, keys: Mapping[str, Any]) -> TeacherSpec:
    """A teacher's spec from its config sub-dict; unknown keys fail with the nearest."""
    known = teacher_defaults()
    for key in keys:
        if key not in known:
            raise unknown(f"key of teacher '{name}'", key, known)
    where = f"teachers.{name}"
    values = dict(keys)
    targets = values.get("targets", known["targets"])
    values["targets"] = (targets,) if isinstance(targets, str) else tuple(targets)
    shapes = values.get("shapes", {})
    for kind in (*values["targets"], *shapes):
        if kind not in TARGET_KINDS:
            raise unknown(f"target in {where}.targets", str(kind), TARGET_KINDS)
    values["shapes"] = {kind: tuple(shape) for kind, shape in shapes.items()}
    if values.get("precision", "float32") not in PRECISIONS:
        raise unknown(f"{where}.precision", str(values["precision"]), PRECISIONS)
    spec = TeacherSpec(**values)
    if not spec.targets:
        raise UsageError(f"{where}.targets is empty: ask for {', '.join(TARGET_KINDS)}")
    named = spec.encoder or is_function(spec.run)
    if not spec.is_stored and not (named and spec.view):
        lacking = "view" if named else "encoder"
        raise UsageError(
            f"{where} needs `{lacking}`: the name of the encoder in its run, and of the student's view "
            "that it sees; or `store`, what `avssl teach` wrote"
        )
    return spec


def build_specs(config: Mapping[str, Any]) -> dict[str, TeacherSpec]:
    """The teachers of a config; those of runs from before there were any have none."""
    return {
        name: build_spec(name, keys.to_dict()) for name, keys in config.get("teachers", {}).items()
    }


@dataclasses.dataclass(frozen=True)
class Taught:
    """What the objectives of a model are told by one teacher: the kinds asked for, with their shapes."""

    view: str
    stored: bool
    shapes: Mapping[str, tuple[int, ...]]


def asked(name: str, objective: Objective, specs: Mapping[str, TeacherSpec]) -> tuple[Target, ...]:
    """An objective's targets; refuses a teacher or a kind that the config lacks."""
    targets = objective.targets()
    for target in targets:
        if target.teacher not in specs:
            raise unknown(f"teacher (asked for by objective '{name}')", target.teacher, specs)
        spec = specs[target.teacher]
        if target.kind not in spec.targets:
            raise UsageError(
                f"objective '{name}' asks teacher '{target.teacher}' for '{target.kind}', and "
                f"teachers.{target.teacher}.targets has {', '.join(spec.targets)}"
            )
        if target.kind not in spec.shapes:
            raise UsageError(
                f"teachers.{target.teacher}.shapes.{target.kind} is not known before its run or store is "
                "opened, as `avssl pretrain` does: state it to plan a run without it"
            )
    return targets


def same_sight(
    first: View, second: View, *, by_frame: bool = False, any_length: bool = False
) -> bool:
    """Whether two views give an encoder pictures or sounds of one kind.

    by_frame: however many pictures. any_length: however long a sound.
    """
    free = (*OF_TIME * by_frame, *OF_LENGTH * any_length)
    return first.modality == second.modality and all(
        equal(getattr(first, key), getattr(second, key))
        for key in SEEN[first.modality]
        if key not in free
    )


def equal(first: Any, second: Any) -> bool:
    if isinstance(first, str):
        return first == second
    return math.isclose(first, second, rel_tol=1e-6)


def told(view: View) -> str:
    """What `same_sight` compares, for a person: what is empty goes without saying."""
    return facts(view, [key for key in SEEN[view.modality] if getattr(view, key) != ""])


def facts(view: View, keys: Sequence[str] = ()) -> str:
    """Some of what `same_sight` compares, or all of it: by this text hashes know a teacher's views."""
    values = ((key, getattr(view, key)) for key in keys or SEEN[view.modality])
    said = (
        f"{key} {value}" if isinstance(value, str) else f"{key} {value:g}" for key, value in values
    )
    return f"{view.modality}: {', '.join(said)}"
