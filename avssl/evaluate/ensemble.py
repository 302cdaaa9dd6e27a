"""`--truth teachers`, `--truth RUN`: what a run's teachers see together, in the place of what the data know.

MM-DistillNet is scored so on MAVD, which nobody annotated (Valverde et al. 2021, arXiv 2103.01353).
"""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from avssl.config import ConfigDict, from_json
from avssl.console import say
from avssl.data.boxes import Detections
from avssl.data.keys import printable
from avssl.data.needs import what_is_lacking
from avssl.data.pipeline import evaluation_batches
from avssl.data.views import VideoView
from avssl.errors import UsageError
from avssl.evaluate.finds import listed
from avssl.evaluate.sides import Part, Sides
from avssl.objectives.detecting import DetectingObjective
from avssl.objectives.hearing import HearingObjective
from avssl.teachers.answers import SEEN, divisible
from avssl.teachers.open import Teachers, open_teachers
from avssl.teachers.spec import Taught, build_specs
from avssl.train.build_model import build_model, evaluation_model
from avssl.train.mesh import batch_sharding, local_mesh, replicated
from avssl.train.model import Model
from avssl.train.sources import open_data

OWN = "teachers"
PROTOCOL = "detection"
BATCH_SIZE = 64


def check_truth(name: str, protocols: Sequence[str]) -> None:
    """Refuses a truth that is nobody's, or that no protocol takes; empty is that of the data."""
    if not name:
        return
    if name != OWN and not Path(name).is_dir():
        raise UsageError(
            f"--truth is '{OWN}', those of the run, or the folder of a run whose teachers are meant; "
            f"'{printable(name)}' is neither"
        )
    if PROTOCOL not in protocols:
        raise UsageError(f"--truth {name} is of the protocol {PROTOCOL}: add it to --protocols")


@dataclasses.dataclass(frozen=True)
class Ensemble:
    """The teachers of a run, and its model with them, with the views that an evaluation shows."""

    model: Model
    teachers: Teachers

    def check(self, student: Model, part: Part) -> None:
        """Refuses, before a clip is decoded, students of other places and data that show a teacher nothing."""
        for name, objective in student.objectives.items():
            if not isinstance(objective, DetectingObjective):
                continue
            told = self.objective(name)
            if told.agnostic and not objective.agnostic:
                raise UsageError(
                    f"{objective.config_key} finds classes, and the teachers of --truth say of none"
                )
            crops = crop_of(student, objective), crop_of(self.model, told)
            if crops[0] != crops[1]:
                raise UsageError(
                    f"{objective.config_key} finds boxes in pictures with crop={crops[0]}, and the teachers of "
                    f"--truth in those with crop={crops[1]}: both must see the same part"
                )
            for teacher in told.names:
                view = self.model.taught[teacher].view
                if lack := what_is_lacking(*part, self.model.views[view]):
                    raise UsageError(f"the view '{view}' of teacher '{teacher}' needs {lack}")

    def objective(self, name: str) -> HearingObjective:
        """The objective of this name, or of another run the only one that is told boxes."""
        hearing = {
            name: one
            for name, one in self.model.objectives.items()
            if isinstance(one, HearingObjective)
        }
        if name not in hearing and name not in self.model.objectives and len(hearing) == 1:
            [name] = hearing
        if name not in hearing:
            raise UsageError(
                f"--truth takes what teachers tell a student, and objective '{name}' is told no boxes: name "
                "the folder of a run that is, or take data with boxes"
            )
        return hearing[name]

    def boxes(self, name: str, sides: Sides) -> list[Detections]:
        """Of each test clip, fused as the objective's loss does. Kept: no weights of the run change them."""
        use, indices = f"what teachers tell {name}", sides.test.index
        if use not in sides.compiled or not np.array_equal(sides.compiled[use][0], indices):
            sides.compiled[use] = indices, self.looked_at(name, sides)
        return sides.compiled[use][1]

    def looked_at(self, name: str, sides: Sides) -> list[Detections]:
        source, indices = sides.scored[0], sides.test.index.tolist()
        found: dict[int, Detections] = {}
        num_partly = 0
        for index, boxes, all_see in self.told(self.objective(name), sides):
            found[index] = listed(boxes)
            num_partly += not all_see
        if unread := [index for index in indices if index not in found]:
            raise UsageError(
                f"'{printable(source.key(unread[0]))}' of {source.spec} cannot be read as its teachers see it: "
                f"remove it, or leave it out with `avssl data build {source.spec} OUT`"
            )
        if num_partly:
            say(
                f"{PROTOCOL}: {num_partly} of {len(indices)} clips show some teacher nothing: they are scored "
                "by the others' boxes"
            )
        if not any(map(len, found.values())):
            raise UsageError(
                f"the teachers of '{name}' are sure of no box in {len(indices)} clips of {source.spec}: train "
                "them longer, or on data that look more like these"
            )
        return [found[index] for index in indices]

    def told(
        self, objective: HearingObjective, sides: Sides
    ) -> Iterator[tuple[int, np.ndarray, bool]]:
        """(record, its boxes as `surest_boxes` lists them, whether all teachers see it), if readable."""
        taught = {
            name: Taught(one.view, False, {"boxes": one.shapes["boxes"]})
            for name, one in self.model.taught.items()
            if name in objective.names
        }
        key = jax.random.key(0)

        def tell(frozen: Any, batch: Any) -> Any:
            said = self.teachers.teach(taught, frozen, batch, key)
            seen = jnp.stack([said["taught"][name] for name in objective.names])
            return objective.apply({}, said, method="told"), jnp.all(seen, axis=0)

        mesh = local_mesh()
        rows, whole = batch_sharding(mesh), replicated(mesh)
        forward = jax.jit(tell, in_shardings=(whole, rows), out_shardings=rows)
        frozen = jax.device_put(self.teachers.variables, whole)
        with evaluation_batches(
            sides.scored[0], dict(self.model.views), batch_size=divisible(BATCH_SIZE),
            indices=sides.test.index, workers=sides.workers,
        ) as batches:  # fmt: skip
            for batch in batches:
                seen = {name: batch[name] for name in (*SEEN, "present", "index")}
                boxes, all_see = jax.device_get(forward(frozen, jax.device_put(seen, rows)))
                for row in np.flatnonzero(batch["mask"]).tolist():
                    yield int(batch["index"][row]), boxes[row], bool(all_see[row])


def crop_of(model: Model, objective: DetectingObjective) -> str:
    """What of a picture an evaluation shows, of which the objective's boxes are shares."""
    view = model.views[objective.video_view]
    assert isinstance(view, VideoView)
    return view.evaluation().crop


def ensemble_of(config: ConfigDict) -> Ensemble:
    """Of a run's config; teachers of a store, which has other clips, are opened as the runs that wrote it."""
    config = from_json(config.to_dict())
    for name, spec in build_specs(config).items():
        if spec.is_stored and not (spec.run and spec.encoder and spec.view):
            raise UsageError(
                f"--truth teachers asks the teachers about other clips than they were asked before, and of "
                f"'{name}' the run knows its store alone: state teachers.{name}.run, encoder and view beside it"
            )
        if spec.is_stored:
            # The hash is the store's.
            config.teachers[name].update(store="", hash="")
    config, teachers = open_teachers(
        config, open_data(config, config.data.source, needs_cache=False)
    )
    online = {
        name: dataclasses.replace(one, model=one.model.without_draws())
        for name, one in teachers.online.items()
    }
    whole = build_model(config)
    # All that the student's own pass looks at, so that both show the same moment.
    views = {**evaluation_model(config).views, **whole.views}
    model = dataclasses.replace(whole, views=views).without_draws()
    return Ensemble(model, dataclasses.replace(teachers, online=online))
