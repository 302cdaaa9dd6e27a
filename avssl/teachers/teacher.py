"""A frozen encoder: what it is made of, what it knows a clip by, and what it says of one."""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from avssl.config import ConfigDict, run_config
from avssl.data.open import open_source
from avssl.data.views import View
from avssl.errors import AvsslError, UsageError, unknown
from avssl.models.detector import flat_attention, levels_of
from avssl.models.registry import build_encoder, hears_any_length, sees_by_frame
from avssl.objectives.base import Batch, Objective, Read
from avssl.signal.frontends import build_frontend
from avssl.teachers.spec import facts, same_sight, told
from avssl.train.build_model import build_model
from avssl.train.checkpoint_reader import read_checkpoint
from avssl.train.mesh import compute_type, float_type, path_name
from avssl.train.model import Model, purpose_key

Variables = dict[str, Any]
# What of a detecting objective decides the boxes that it finds.
FINDING = ("agnostic", "num_boxes", "least_score", "overlap")


@dataclasses.dataclass(frozen=True)
class Teacher:
    """An encoder with its front end, its weights, and the classifier that its run trained on it.

    views: those it was trained on, one at least. objective, detector: what its run trained on it that has
    logits or boxes. classes: of the logits or boxes, where they have names.
    """

    where: str
    encoder: str
    config: Mapping[str, Any]  # `encoders.NAME` of its run
    views: tuple[View, ...]
    variables: Variables  # on the host: params, batch_stats and, of the classifier, head
    objective: Objective | None = None
    detector: Objective | None = None
    classes: tuple[str, ...] | None = None

    @property
    def hash(self) -> str:
        """Of weights and config: equal for the same teacher, wherever it lies."""
        digest = hashlib.sha256()
        seen = sorted(facts(view) for view in self.views)
        known: list[Any] = [dict(self.config), seen]
        if self.detector is not None:
            known.append({key: getattr(self.detector, key) for key in FINDING})
        digest.update(json.dumps(known, sort_keys=True).encode())
        for path, leaf in jax.tree_util.tree_leaves_with_path(self.variables):
            array = np.ascontiguousarray(leaf)
            digest.update(f"{path_name(path)} {array.dtype} {array.shape}\n".encode())
            digest.update(array.tobytes())
        return digest.hexdigest()[:32]

    @property
    def called(self) -> str:
        """For a person."""
        return f"{self.encoder} of {self.where}"

    def knows(self, view: View) -> bool:
        """Whether a view shows what the teacher was trained on."""
        free = {
            "by_frame": sees_by_frame(self.config),
            "any_length": hears_any_length(self.config),
        }
        return any(same_sight(view, own, **free) for own in self.views)

    def check_view(self, name: str, view_name: str, view: View) -> None:
        """Refuses a student's view that shows other than what the teacher was trained on."""
        if not self.knows(view):
            raise UsageError(
                f"teacher '{name}' ({self.where}) was trained on {told(self.views[0])}, and the student's "
                f"view '{view_name}' is {told(view)}: give it a view of its own kind (teachers.{name}.view)"
            )

    def check_targets(self, targets: Sequence[str]) -> None:
        if "logits" in targets and self.objective is None:
            raise UsageError(
                f"{self.where} has no logits for its encoder '{self.encoder}': train it with the objective "
                "'supervised' or 'classify' of one modality (and export it with --heads), or ask for embedding "
                "or map"
            )
        if "boxes" in targets and self.detector is None:
            raise UsageError(
                f"{self.where} finds no boxes with its encoder '{self.encoder}': train it with the objective "
                "'detect' (and export it with --heads), or ask for embedding or map"
            )

    def seeing(self, view_name: str, view: View, precision: str) -> "SeeingTeacher":
        """The teacher before a view of a batch."""
        dtype = compute_type(precision)
        model = Model(
            views={view_name: view},
            encoders={self.encoder: build_encoder(self.encoder, self.config, dtype)},
            frontends={self.encoder: build_frontend(self.config["frontend"])},
            objectives={},
            reads=(Read(view_name, self.encoder, mode="eval"),),
            precision=precision,
        )
        return SeeingTeacher(self, model, model.reads[0])


@dataclasses.dataclass(frozen=True)
class SeeingTeacher:
    """What a teacher computes; pure functions of its variables."""

    teacher: Teacher
    model: Model
    read: Read

    @functools.cached_property
    def variables(self) -> Variables:
        """The encoder's weights in the type of its arithmetic; its statistics and the head no narrower than
        float32, which they compute in.
        """
        precision = self.model.precision
        types = dict.fromkeys(self.teacher.variables, float_type(precision))
        types["params"] = compute_type(precision)
        return {
            name: jax.tree.map(lambda leaf, dtype=types[name]: cast(leaf, dtype), tree)
            for name, tree in self.teacher.variables.items()
        }

    def targets(
        self, variables: Variables, batch: Batch, key: Array, kinds: Sequence[str]
    ) -> dict[str, Array]:
        """Each kind of target of each row, float. With running statistics and without gradient.

        The view is augmented as the student sees it, by the same draws: a teacher that is asked about
        other pixels than the student is judged by answers to another question (Beyer et al. 2022).
        """
        weights = {
            "params": {"encoders": {self.teacher.encoder: variables["params"]}},
            "batch_stats": {"encoders": {self.teacher.encoder: variables["batch_stats"]}},
        }
        features, _ = self.model.features(weights, batch, key, train=True)
        seen = features[self.read]
        found = {"embedding": seen.embedding, "map": seen.map}
        if "boxes" in kinds:
            assert self.teacher.detector is not None
            found["boxes"] = self.teacher.detector.apply({}, seen, method="boxes")
        if levels_of(seen.taps):
            found["attention"] = flat_attention(seen.taps)
        if "logits" in kinds:
            assert self.teacher.objective is not None
            found["logits"] = self.teacher.objective.apply(
                {"params": variables["head"]}, seen.embedding, self.teacher.encoder, method="class_logits"
            )  # fmt: skip
        for kind in kinds:
            if found.get(kind) is None:
                raise UsageError(
                    f"{self.teacher.where}: encoder '{self.teacher.encoder}' has no {kind}"
                )
        dtype = float_type(self.model.precision)
        return {kind: jax.lax.stop_gradient(found[kind]).astype(dtype) for kind in kinds}

    def shapes(self, kinds: Sequence[str]) -> dict[str, tuple[int, ...]]:
        """Of one clip's targets."""
        # Of three, which fewer other axes are than two: a function may confuse them.
        made = jax.eval_shape(
            lambda: self.targets(
                jax.tree.map(jnp.asarray, self.variables), self.model.example_batch(3),
                jax.random.key(0), kinds,
            )
        )  # fmt: skip
        return {kind: leaf.shape[1:] for kind, leaf in made.items()}


def cast(leaf: Any, dtype: Any) -> Any:
    """On the host; what is no floating-point number stays as it is."""
    if not jnp.issubdtype(leaf.dtype, jnp.floating):
        return leaf
    return np.asarray(leaf).astype(dtype, copy=False)


def teacher_of_run(folder: str, encoder: str = "", *, together: bool = False) -> Teacher:
    """The newest sound checkpoint of a run folder; without a name its only encoder.

    together: all processes of a run ask for it, and get the same step.
    """
    config = run_config(Path(folder))
    encoder = encoder or only_encoder(config, folder)
    if encoder not in config.encoders:
        raise unknown(f"encoder of {folder}", encoder, config.encoders)
    model = build_model(config)
    views = views_of(model, encoder, folder)
    step, items = read_checkpoint(
        Path(folder) / "checkpoints", ("params", "batch_stats", "meta"), together=together
    )
    where = f"step {step} of {folder}"
    name, objective = classifier_of(model, encoder)
    detector = detector_of(model, encoder)
    params, statistics = items["params"], items.get("batch_stats", {})
    variables = {
        "params": params["encoders"][encoder],
        "batch_stats": statistics.get("encoders", {}).get(encoder, {}),
        "head": params["objectives"][name] if objective is not None else {},
    }
    named = detector is not None or (objective is not None and objective.classes_are_labels)
    classes = classes_of(items["meta"], config) if named else None
    keys = config.encoders[encoder].to_dict()
    return Teacher(where, encoder, keys, views, variables, objective, detector, classes)


def random_teacher(
    config: ConfigDict, name: str, encoder: str, view: View, classes: tuple[str, ...]
) -> Teacher:
    """An encoder of this config at random initialisation: the baseline of a teacher that knows something."""
    from avssl.objectives.detect import Detect
    from avssl.objectives.supervised import Supervised

    if encoder not in config.encoders:
        raise unknown(f"encoder in teachers.{name}.encoder (of no run)", encoder, config.encoders)
    keys = config.encoders[encoder].to_dict()
    objective = Supervised(
        num_classes=max(len(classes), 2), video_encoder=encoder, audio_encoder=encoder
    )
    bare = Teacher("a random network", encoder, keys, (view,), {})
    seeing = bare.seeing("view", view, config.precision)
    key = purpose_key(jax.random.key(config.seed), f"teacher {name}")

    @jax.jit
    def make() -> Variables:
        made = seeing.model.init(key)
        batch = seeing.model.example_batch(2)
        features, _ = seeing.model.features(made, batch, key, train=False)
        embedding = features[seeing.read].embedding
        head = objective.init(purpose_key(key, "head"), embedding, encoder, method="class_logits")
        return {
            "params": made["params"]["encoders"][encoder],
            "batch_stats": made["batch_stats"]["encoders"][encoder],
            "head": head["params"],
        }

    variables = jax.device_get(make())
    return dataclasses.replace(
        bare,
        variables=variables,
        objective=objective,
        detector=Detect(video_encoder=encoder, audio_encoder=encoder),
        classes=classes or None,
    )


def only_encoder(config: ConfigDict, folder: str) -> str:
    if len(config.encoders) != 1:
        raise UsageError(
            f"{folder} has the encoders {', '.join(sorted(config.encoders))}: say which one teaches"
        )
    return next(iter(config.encoders))


def views_of(model: Model, encoder: str, where: str) -> tuple[View, ...]:
    """What the encoder was trained on, as it is seen without draws; UsageError where it has nothing alone."""
    reads = [read for read in model.reads if read.encoder == encoder]
    views = dict.fromkeys(
        dataclasses.replace(
            model.views[read.view].evaluation(),
            windows=1,
            every_seconds=None,
            shift_seconds=(0.0, 0.0),
            anchor="clip",
        )
        for read in reads
        if not read.toward
    )
    if not reads:
        raise UsageError(
            f"{where}: no objective reads its encoder '{encoder}', so nothing trained it"
        )
    if not views:
        raise UsageError(
            f"{where}: its encoder '{encoder}' only knows sound that is turned toward a view of a picture, "
            "which sound alone cannot be: take an encoder of pictures, or another run"
        )
    return tuple(views)


def classifier_of(model: Model, encoder: str) -> tuple[str, Objective | None]:
    for name, objective in model.objectives.items():
        if objective.classifies(encoder):
            return name, objective
    return "", None


def detector_of(model: Model, encoder: str) -> Objective | None:
    return next((one for one in model.objectives.values() if one.detects(encoder)), None)


def classes_of(meta: Mapping[str, Any], config: ConfigDict) -> tuple[str, ...] | None:
    """The names of the classes that a run was trained on; None where nobody can say any more."""
    if "label_names" in meta:
        return tuple(meta["label_names"]) or None
    try:
        return open_source(config.data.source).label_names
    except AvsslError:
        return None
