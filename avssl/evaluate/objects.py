"""Where any object is, as another network than the run's own sees it.

EZ-VSL and AVL fuse their maps with those of a ResNet-18 that is trained on ImageNet and has never heard a sound
(Mo and Morgado 2022, arXiv 2203.09324, section 3.3).
"""

import dataclasses
from pathlib import Path

import numpy as np
from jaxtyping import Float

from avssl.config import run_config
from avssl.console import say
from avssl.data.views import View
from avssl.errors import UsageError
from avssl.evaluate.sides import Sides
from avssl.losses.teacher_hints import object_response
from avssl.teachers.answers import answers, divisible
from avssl.teachers.spec import told
from avssl.teachers.teacher import SeeingTeacher, Teacher, teacher_of_run
from avssl.train.model import Model

BATCH_SIZE = 64


@dataclasses.dataclass(frozen=True)
class ObjectNetwork:
    """A frozen picture encoder, of whose map the mean over channels of the magnitudes is taken."""

    teacher: Teacher
    precision: str

    def maps(self, view_name: str, view: View, sides: Sides) -> Float[np.ndarray, "clips h w"]:
        """Of each test clip, as the view shows it. Kept: no weights of the run change them."""
        indices = sides.test.index
        use = f"objects in {view_name}"
        if use not in sides.compiled or not np.array_equal(sides.compiled[use][0], indices):
            sides.compiled[use] = indices, self.looked_at(view_name, view, sides)
        return sides.compiled[use][1]

    def check(self, model: Model) -> None:
        """Refuses, before a clip is decoded, a run whose only picture this network cannot look at."""
        names = {one.video_view for one in model.objectives.values()} & model.views.keys()
        if len(names) == 1:
            [name] = names
            self.seeing(name, model.views[name])

    def seeing(self, view_name: str, view: View) -> SeeingTeacher:
        if not self.teacher.knows(view):
            raise UsageError(
                f"the map of objects is of '{self.teacher.encoder}' of {self.teacher.where}, trained on "
                f"{told(self.teacher.views[0])}, and the view '{view_name}' of this run is {told(view)}: "
                "name a network of the same"
            )
        seeing = self.teacher.seeing(view_name, view.evaluation(), self.precision)
        seeing.shapes(("map",))  # which not all encoders have
        return seeing

    def looked_at(self, view_name: str, view: View, sides: Sides) -> np.ndarray:
        found = answers(
            self.seeing(view_name, view),
            sides.scored[0],
            ("map",),
            batch_size=divisible(BATCH_SIZE),
            indices=sides.test.index,
            workers=sides.workers,
            of_targets=lambda targets: object_response(targets["map"])[0],
        )
        return np.concatenate([maps[batch["mask"]] for batch, maps in found])


def object_network(spec: str, precision: str) -> ObjectNetwork:
    """The newest checkpoint of a run folder: `RUN`, whose only encoder of pictures it is, or `RUN@ENCODER`."""
    if not isinstance(spec, str):
        raise UsageError(f"eval.object_encoder must be a run folder or None, not {spec!r}")
    folder, _, encoder = (spec, "", "") if Path(spec).exists() else spec.partition("@")
    seeing = [
        name for name, keys in run_config(Path(folder)).encoders.items() if keys.modality == "video"
    ]
    if not encoder and not seeing:
        raise UsageError(f"{folder} has no encoder of pictures, which a map of objects is of")
    if not encoder and len(seeing) > 1:
        raise UsageError(
            f"{folder} has the picture encoders {', '.join(sorted(seeing))}, and a map of objects is of one: "
            f"name it as {folder}@{seeing[0]}"
        )
    teacher = teacher_of_run(folder, encoder or seeing[0])
    say(f"maps of objects: {teacher.encoder} of {teacher.where}, {teacher.hash}")
    return ObjectNetwork(teacher, precision)
