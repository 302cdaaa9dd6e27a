"""A teacher that is a function: what a file of Python says of pictures or sounds."""

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from jax import Array

from avssl.config.file import function_in, line_of, words_of
from avssl.data.views import AudioView, View, build_view
from avssl.errors import AvsslError, UsageError
from avssl.objectives.base import Batch, Read
from avssl.signal.frontends import Waveform
from avssl.teachers.spec import facts, is_function
from avssl.teachers.teacher import SeeingTeacher, Teacher, Variables, teacher_of_run
from avssl.train.mesh import float_type
from avssl.train.model import Model, by_window

# How many axes targets of each kind have, the batch's among them.
NUM_AXES = {"embedding": 2, "logits": 2, "map": 5, "boxes": 3, "attention": 2}


@dataclasses.dataclass(frozen=True)
class Function:
    """What `get_teacher()` of such a file gives.

    says: the targets of a batch by kind, in JAX. It is given pictures [batch, frames, height, width, 3] in
    0..1, or sounds [batch, samples, channels] in -1..1, augmented as the student sees them, in the teacher's
    precision. view: the keys of the view that it looks at, as in a config, but for what is drawn. classes: the
    names of the logits' columns, or of the boxes' classes, in their order.
    """

    says: Callable[[Array], Mapping[str, Array]]
    view: Mapping[str, Any]
    classes: tuple[str, ...] | None = None


@dataclasses.dataclass(frozen=True)
class FunctionTeacher(Teacher):
    """No weights: its hash is that of its file's text, and not of what the file imports."""

    says: Callable[[Array], Mapping[str, Array]] = dataclasses.field(kw_only=True)
    text: bytes = dataclasses.field(kw_only=True)

    @property
    def hash(self) -> str:
        digest = hashlib.sha256(self.text)
        digest.update(facts(self.views[0]).encode())
        return digest.hexdigest()[:32]

    @property
    def called(self) -> str:
        return self.where

    def check_targets(self, targets: Sequence[str]) -> None:
        self.seeing("view", self.views[0], "float32").shapes(targets)

    def seeing(self, view_name: str, view: View, precision: str) -> "SeeingFunction":
        if isinstance(view, AudioView) and (view.time_masks or view.frequency_masks):
            raise UsageError(
                f"{self.where} hears samples, and the view '{view_name}' masks spectrograms: give it a view "
                "without time_masks and frequency_masks"
            )
        read = Read(view_name, "function", mode="eval")
        model = Model(
            views={view_name: view},
            encoders={},
            frontends={"function": Waveform() if isinstance(view, AudioView) else colours},
            objectives={},
            reads=(read,),
            precision=precision,
        )
        return SeeingFunction(self, model, read)


@dataclasses.dataclass(frozen=True)
class SeeingFunction(SeeingTeacher):
    def targets(
        self, variables: Variables, batch: Batch, key: Array, kinds: Sequence[str]
    ) -> dict[str, Array]:
        teacher, read = self.teacher, self.read
        assert isinstance(teacher, FunctionTeacher)
        seen = self.model.inputs(read, batch, key)
        if isinstance(self.model.views[read.view], AudioView):
            seen = seen[:, :, 0]  # front ends have an axis of frequencies
        said = said_by(teacher, seen, kinds)
        dtype = float_type(self.model.precision)
        said = {kind: jax.lax.stop_gradient(leaf).astype(dtype) for kind, leaf in said.items()}
        return by_window(said, self.model.num_windows(read))


def colours(video: Array) -> Array:
    """As they come, in place of a front end."""
    return video


def said_by(teacher: FunctionTeacher, seen: Array, kinds: Sequence[str]) -> dict[str, Array]:
    try:
        said = dict(teacher.says(seen))
    except AvsslError:
        raise
    except Exception as error:
        raise UsageError(
            f"{teacher.where}{line_of(error, Path(teacher.encoder))}: {words_of(error)}"
        ) from error
    for kind in kinds:
        if kind not in said:
            raise UsageError(
                f"{teacher.where} says {', '.join(said) or 'nothing'}, and is asked for {kind}"
            )
        shape = said[kind].shape
        if len(shape) != NUM_AXES[kind] or shape[0] != len(seen):
            raise UsageError(
                f"{teacher.where} says {kind} of the shape {list(shape)} of {len(seen)} clips: it needs "
                f"{NUM_AXES[kind]} axes, of which the first is the batch"
            )
    return {kind: said[kind] for kind in kinds}


def teacher_of(run: str, encoder: str = "", *, together: bool = False) -> Teacher:
    """Of a run folder, or of a file of Python with `get_teacher()`.

    together: all processes of a run ask for it, as in `teacher_of_run`.
    """
    if not is_function(run):
        return teacher_of_run(run, encoder, together=together)
    if encoder:
        raise UsageError(
            f"{run} is a function and has no encoder '{encoder}': leave the encoder empty"
        )
    file = Path(run)
    if not file.is_file():
        raise UsageError(f"there is no teacher's file '{run}'")
    try:
        get_teacher = function_in(file, "get_teacher")
        if get_teacher is None:
            raise UsageError("it has no function get_teacher()")
        found = get_teacher()
        if not isinstance(found, Function):
            raise UsageError(
                f"get_teacher must return avssl.teachers.function.Function, not {found!r}"
            )
        view = build_view("of the teacher", found.view).evaluation()
    except AvsslError as error:
        raise UsageError(f"teacher's file '{run}': {error}") from error
    except Exception as error:
        raise UsageError(
            f"teacher's file '{run}'{line_of(error, file)}: {words_of(error)}"
        ) from error
    return FunctionTeacher(
        f"the function of {run}", run, {}, (view,), {}, classes=found.classes, says=found.says,
        text=file.read_bytes(),
    )  # fmt: skip
