"""The teachers of a run: opened once, before the model is built, since its heads depend on what they say."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from avssl.config import ConfigDict, from_json
from avssl.console import say
from avssl.data.joined import Join
from avssl.data.keys import printable
from avssl.data.record import Source
from avssl.data.views import View, build_views
from avssl.errors import UsageError, unknown
from avssl.objectives import build_objective
from avssl.objectives.base import Batch, Target
from avssl.teachers.classes import check_alike, check_classes
from avssl.teachers.function import teacher_of
from avssl.teachers.spec import Taught, TeacherSpec, build_specs, same_sight, told
from avssl.teachers.store import TargetStore
from avssl.teachers.teacher import SeeingTeacher, Teacher, random_teacher
from avssl.train.agreement import said_by_all
from avssl.train.mesh import float_type
from avssl.train.sources import local_cache


@dataclasses.dataclass(frozen=True)
class Teachers:
    """Those that objectives ask: the ones that compute in the step, and the stores of the others."""

    online: Mapping[str, SeeingTeacher] = dataclasses.field(default_factory=dict)
    stores: Mapping[str, TargetStore] = dataclasses.field(default_factory=dict)
    precision: str = "float32"  # of the student, which its targets come in

    def __bool__(self) -> bool:
        return bool(self.online or self.stores)

    @property
    def variables(self) -> dict[str, Any]:
        """The frozen weights by teacher, on the host: an argument of the step."""
        return {name: one.variables for name, one in self.online.items()}

    def place(self, shardings: Any) -> Any:
        """The weights where the step wants them; every process has read them all."""
        return jax.tree.map(
            lambda leaf, sharding: jax.make_array_from_callback(
                leaf.shape, sharding, lambda index, leaf=leaf: leaf[index]
            ),
            self.variables,
            shardings,
        )

    def teach(
        self, taught: Mapping[str, Taught], frozen: Any, rows: Batch, key: Array
    ) -> dict[str, Any]:
        """`targets`, `taught` and `untaught` of some rows of the batch, for a model that is so `taught`.

        Rows without targets are zeros. Of an online teacher, `untaught` names records whose targets are not
        finite; of a store, those that it has not.
        """
        dtype = float_type(self.precision)
        said = {part: dict(rows.get(part, {})) for part in ("targets", "taught", "untaught")}
        said["targets"] = jax.tree.map(lambda leaf: leaf.astype(dtype), said["targets"])
        for name, one in taught.items():
            if one.stored:
                continue
            seeing = self.online[name]
            targets = seeing.targets(frozen[name], rows, key, tuple(one.shapes))
            finite = jnp.stack([finite_rows(leaf) for leaf in targets.values()]).all(axis=0)
            present = rows["present"][one.view]
            said["targets"][name] = {
                kind: jnp.where(beside(present & finite, leaf), leaf, 0).astype(dtype)
                for kind, leaf in targets.items()
            }
            said["taught"][name] = present & finite
            said["untaught"][name] = jnp.where(present & ~finite, rows["index"], -1)
        return said


def finite_rows(leaf: Array) -> Array:
    return jnp.isfinite(leaf).reshape(len(leaf), -1).all(axis=1)


def beside(rows: Array, leaf: Array) -> Array:
    return rows.reshape(-1, *(1,) * (leaf.ndim - 1))


NO_TEACHERS = Teachers()


def open_teachers(config: ConfigDict, source: Source) -> tuple[ConfigDict, Teachers]:
    """(the config with the hash and the shapes of each teacher that an objective asks, the teachers).

    Where a run has several processes, all of them open its teachers.
    """
    specs, asked = build_specs(config), asked_targets(config)
    online: dict[str, SeeingTeacher] = {}
    stores: dict[str, TargetStore] = {}
    known: dict[str, Sequence[str] | None] = {}
    config = from_json(config.to_dict())
    for name in (name for name in specs if name in asked):
        spec = specs[name]
        if spec.is_stored:
            stores[name] = opened = open_store(config, name, spec, source)
            view = view_of(config, name, spec) if spec.view else None
            shapes, classes, hashed = opened.shapes(spec.targets, view), opened.classes, opened.hash
            found = f"targets of {opened.teacher} in {spec.store}"
        else:
            online[name] = seeing = open_online(config, name, spec, source)
            shapes, classes = seeing.shapes(spec.targets), seeing.teacher.classes
            hashed = seeing.teacher.hash
            found = seeing.teacher.called
        if spec.hash and spec.hash != hashed:
            raise UsageError(
                f"teachers.{name}.hash is {spec.hash}, and {found} is {hashed}: give the teacher that is "
                "meant, or state the hash of this one"
            )
        say(f"teacher '{name}': {found}, {hashed}")
        for heard in dict.fromkeys(target.heard for target in asked[name] if target.heard):
            check_unseen(config, name, spec, heard)
        if any(target.classes for target in asked[name]):
            if "logits" in shapes:
                check_classes(name, shapes["logits"][-1], classes, source)
            elif classes is not None:
                check_classes(name, len(classes), classes, source)
        known[name] = classes
        config.teachers[name].hash = hashed
        config.teachers[name].shapes = ConfigDict(shapes)
        same = bool(classes) and tuple(classes or ()) == tuple(source.label_names)
        config.teachers[name].classes_are_labels = same and "logits" in shapes
    for name, targets in asked.items():
        for other in dict.fromkeys(target.like for target in targets if target.like):
            check_alike(name, known.get(name), other, known.get(other))
    check_same_everywhere({name: config.teachers[name].hash for name in (*online, *stores)})
    return config, Teachers(online, stores, config.precision)


def check_same_everywhere(hashes: Mapping[str, str]) -> None:
    """Refuses teachers that are not the same in every process, as folders of one name on several disks."""
    for name, seen in zip(hashes, said_by_all(list(hashes.values())), strict=True):
        for process, found in enumerate(seen):
            if found != seen[0]:
                raise UsageError(
                    f"teacher '{name}' is {seen[0]} in process 0 and {found} in process {process}: give all "
                    f"processes the same teacher (teachers.{name}.run or store), on a disk that they share"
                )


def asked_targets(config: ConfigDict) -> dict[str, list[Target]]:
    """What the objectives with a weight ask, by teacher."""
    asked: dict[str, list[Target]] = {}
    for name, keys in config.objectives.items():
        if keys.weight:
            for target in build_objective(name, keys.to_dict(), config.data.num_records).targets():
                asked.setdefault(target.teacher, []).append(target)
    return asked


def view_of(config: ConfigDict, name: str, spec: TeacherSpec) -> View:
    if spec.view not in config.views:
        raise unknown(f"view in teachers.{name}.view", spec.view, config.views)
    return build_views(config.views.to_dict())[spec.view]


def open_online(config: ConfigDict, name: str, spec: TeacherSpec, source: Source) -> SeeingTeacher:
    view = view_of(config, name, spec)
    teacher = found_teacher(config, name, spec, view, tuple(source.label_names))
    teacher.check_view(name, spec.view, view)
    if view.modality == "audio" and not any(same_sight(view, own) for own in teacher.views):
        say(f"teacher '{name}' learnt from {told(teacher.views[0])}, and hears {told(view)} here")
    teacher.check_targets(spec.targets)
    return teacher.seeing(spec.view, view, spec.precision)


def found_teacher(
    config: ConfigDict, name: str, spec: TeacherSpec, view: View, classes: tuple[str, ...]
) -> Teacher:
    if spec.run:
        return teacher_of(spec.run, spec.encoder, together=True)
    return random_teacher(config, name, spec.encoder, view, classes)


def open_store(config: ConfigDict, name: str, spec: TeacherSpec, source: Source) -> TargetStore:
    store = TargetStore(spec.store)
    store.check_data(source)
    if cache := local_cache(config):
        store.keep_locally(cache)
    if spec.run:
        found = teacher_of(spec.run, spec.encoder, together=True)
        if found.hash != store.teacher_hash:
            raise UsageError(
                f"teachers.{name}: {spec.store} was written by {store.teacher}, which is not {found.where} "
                f"(hash {store.teacher_hash[:12]}, there {found.hash[:12]}): write it again with `avssl teach`"
            )
    store.check_targets(name, spec.targets)
    if spec.view or store.needs_view(spec.targets):
        if not spec.view:
            raise UsageError(
                f"teachers.{name}: {spec.store} holds {store.kind_of_windows}, so the run must know which of "
                f"its views the teacher saw: set teachers.{name}.view"
            )
        store.check_view(name, spec.view, view_of(config, name, spec), spec.targets)
    check_reach(config, name, spec, store)
    return store


def check_reach(config: ConfigDict, name: str, spec: TeacherSpec, store: TargetStore) -> None:
    """Says how many records are not taught; refuses a store that teaches none of them."""
    view = view_of(config, name, spec) if store.needs_view(spec.targets) else None
    lacking = store.lacking(Join(store, {}, view).slots[-1] + 1)
    if not lacking:
        return
    not_taught, of_all = sum(lacking.values()), store.meta["num_records"]
    why = ", ".join(f"{number} {reason}" for reason, number in lacking.items())
    if not_taught == of_all:
        raise UsageError(
            f"teachers.{name}: '{printable(spec.store)}' teaches nothing: {why}, of {of_all} records: write "
            "one of what these records have, and with as many windows as the student's view asks for"
        )
    say(f"teacher '{name}': {not_taught} of {of_all} records not taught: {why}")


def check_unseen(config: ConfigDict, name: str, spec: TeacherSpec, heard: str) -> None:
    """Refuses a view of which a student that hears `heard` would have to know how it was moved."""
    view = view_of(config, name, spec)
    where = f"teacher '{name}' says where things are in the view '{spec.view}', and the student"
    if getattr(view, "crop", "center") == "random":
        raise UsageError(
            f"{where} does not see how that is cropped: set views.{spec.view}.crop=center"
        )
    followed = getattr(build_views(config.views.to_dict()).get(heard), "mirrored_with", None)
    flips = view.placed_as if getattr(view, "flip", False) else None
    if flips != (followed and followed.placed_as):
        raise UsageError(
            f"{where} does not hear how that is mirrored: set views.{heard}.mirrored_with={spec.view} and "
            f"views.{spec.view}.flip=True, or mirrored_with='' and flip=False"
        )
