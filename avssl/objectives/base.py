"""What an objective is: the views and features it reads, its per-example heads, its loss on the batch.

The model encodes each distinct `Read` once per step, whoever asked for it. `heads` runs beside the encoders,
on the rows that a device or a micro-batch holds; what it returns is gathered, and `__call__` sees the GLOBAL
batch. Neither may use a collective or ask for the number of devices: there is one seam, and it is elsewhere.
"""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp
from flax import struct
from flax.core import FrozenDict
from jax import Array

from avssl.data.views import View
from avssl.errors import UsageError, unknown
from avssl.losses.contrastive import cosines, unit_rows
from avssl.models.features import Features

# What `heads` returns: arrays whose first axis is the example.
Outputs = dict[str, Array]
# The small per-example arrays: index, label, row, valid, present[view], geometry[view]; and what teachers say,
# targets[teacher][kind], with taught[teacher].
Batch = Mapping[str, Any]

MODES = ("train", "eval", "ema")
# What a teacher can say of a clip.
TARGET_KINDS = ("embedding", "map", "logits", "boxes", "attention")
# Those that are places in what the teacher sees: they move when it does.
PLACED_KINDS = ("map", "boxes", "attention")


@dataclasses.dataclass(frozen=True)
class Read:
    """One pass of one encoder over one view.

    mode: `train` takes gradients and batch statistics; `eval` takes running statistics and no gradient;
    `ema` is `eval` with the averaged parameters. `toward`: ambisonic sound as heard from each viewing
    direction of that view (`official_rotation`: in the order of AVSA's released code).

    A view of several windows is encoded window by window: its features are [batch, windows, ...].
    """

    view: str
    encoder: str
    mode: str = "train"
    toward: str = ""
    official_rotation: bool = False


@dataclasses.dataclass(frozen=True)
class Target:
    """What a teacher of the config (`teachers.NAME`) says of each clip: `batch["targets"][teacher][kind]`.

    Rows of which it says nothing are zeros, and False in `batch["taught"][teacher]`: the clip lacks what the
    teacher looks at, its store has a gap, or no teacher is there, as in every evaluation. A `map` stays with
    its rows: `heads` see it, `__call__` does not.

    `boxes` are [n, 6], as `losses/suppression.py` lists them: x0, y0, x1, y1 in shares of the teacher's view,
    score, class; a score of 0 is no box. `attention` is [positions]: the mean of the channels' squares at each
    position of each level of a detector's pyramid, one level after the other.

    classes: the columns of `logits`, or the classes of `boxes`, are those of the labels; others are refused.
    like: another teacher, whose classes these must be, too; empty for none.
    heard: the view of sound by which a student that does not see the teacher's view answers. That must not be
    cropped at random, and only be mirrored where the sound is mirrored with it.
    """

    teacher: str
    kind: str
    classes: bool = False
    like: str = ""
    heard: str = ""


@struct.dataclass
class Outcome:
    """The loss of the global batch and what to log beside it."""

    loss: Array
    metrics: dict[str, Array]


@struct.dataclass
class Owned:
    """What of the state belongs to one objective: a refresh may rewrite `params` and `memory`.

    batch_stats: of its heads, for a refresh that applies them.
    """

    params: Any
    memory: Any
    batch_stats: Any = struct.field(default_factory=dict)


# Fields that say where an objective is used, and are no keys of its config.
NOT_KEYS = (
    "parent", "name", "key", "num_records", "num_steps", "target_shapes", "teachers_of_labels", "stage"
)  # fmt: skip


class Objective(nn.Module):
    """Base of all objectives; the fields are exactly the keys of the objective's config.

    The common case, one video and one audio feature per clip, needs only `heads` and `__call__`.
    State that outlives a step (banks, queues) lives in the collection `memory`.

    key: its name in the config, where that differs from its class's: `crd__image`.
    num_records: of the source, for memory with a row per record; `batch["index"]` lies below it.
    num_steps: of the whole run, where it is known.
    target_shapes: of one clip's targets, by teacher and kind: what heads are built for.
    teachers_of_labels: those whose logits are of the classes of the data's labels.
    stage: the part of a curriculum that is trained, from 0; None is all of it at once, which is how an
    objective is initialised and evaluated: then `reads` and `initialise` meet whatever any stage needs.
    """

    weight: float = 1.0
    video_view: str = "video"
    audio_view: str = "audio"
    video_encoder: str = "video"
    audio_encoder: str = "audio"
    key: str = ""
    num_records: int = 0
    num_steps: int | None = None
    target_shapes: Mapping[str, Mapping[str, tuple[int, ...]]] = FrozenDict()
    teachers_of_labels: tuple[str, ...] = ()
    stage: int | None = None

    # The lowest and the highest value of keys that are numbers, both allowed, beside those that
    # `config/check.py` knows by name; and the values of keys that are names.
    bounds: ClassVar[Mapping[str, tuple[float, float]]] = {}
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    # Objectives of another run (`init_from`) whose heads this one goes on from, the first that is there; and
    # what of its memory, which is of the same data then.
    continues: ClassVar[tuple[str, ...]] = ()
    continues_memory: ClassVar[tuple[str, ...]] = ()

    @property
    def config_key(self) -> str:
        """Where the objective stands in a config."""
        own = re.sub("(?<=[a-z])(?=[A-Z])", "_", type(self).__name__).lower()
        return f"objectives.{self.key or own}"

    @property
    def waits_by(self) -> str:
        """The key that says from which step on it teaches anything; empty where it does at once."""
        return ""

    def require_records(self, least: int, why: str) -> None:
        """Refuses data with too few records for memory of a row for each, before anything is trained."""
        if self.num_records < least:
            raise UsageError(
                f"{self.config_key} keeps a row for each record of the data and needs at least {least} "
                f"({why}): data.num_records is {self.num_records}, world:quickstart has 1200"
            )

    def views(self, table: Mapping[str, View]) -> dict[str, View]:
        """The windows this objective reads, by name; `table` holds those of the config."""
        return {name: table[name] for name in (self.video_view, self.audio_view)}

    def needed_views(self, table: Mapping[str, View]) -> dict[str, View]:
        """Those without which nothing is learnt from a clip; clips known to lack one are not trained on.

        None where any of them will do.
        """
        return self.views(table)

    def views_of_some(self, table: Mapping[str, View]) -> dict[str, View]:
        """Those that some clips must show, beside `needed_views`: data without any such clip are refused."""
        return self.views(table)

    def reads(self) -> tuple[Read, ...]:
        return (self.video_read, self.audio_read)

    def targets(self) -> tuple[Target, ...]:
        """What teachers are asked for."""
        return ()

    @property
    def video_read(self) -> Read:
        return Read(self.video_view, self.video_encoder)

    @property
    def audio_read(self) -> Read:
        return Read(self.audio_view, self.audio_encoder)

    @property
    def dtype(self) -> Any:
        """The type of heads and losses: float32, or float64 where JAX has it switched on (proofs)."""
        return jnp.result_type(float)

    def stage_steps(self) -> tuple[int, ...]:
        """The steps at which the next stage of a curriculum begins."""
        return ()

    def both_present(self, batch: Batch) -> Array:
        """bool [batch]: the rows that have all that the objective reads, by default both modalities."""
        return batch["present"][self.video_view] & batch["present"][self.audio_view]

    def several_windows(self, read: Read) -> UsageError:
        """What is wrong where a view has more windows than the one that the objective reads."""
        return UsageError(f"{self.config_key} takes one window: set views.{read.view}.windows=1")

    def map_of(self, features: Mapping[Read, Features], read: Read, asking: str) -> Array:
        """The map of a read; UsageError where its encoder gives none. asking: the setting that needs it."""
        found = features[read].map
        if found is None:
            raise UsageError(
                f"{asking} needs the map of the encoder '{read.encoder}', which gives none"
            )
        return found

    def heads(self, features: Mapping[Read, Features], batch: Batch, *, train: bool) -> Outputs:
        """The per-example outputs of the objective's own modules, on local rows or a micro-batch."""
        raise TypeError(f"{type(self).__name__} defines no heads")

    def target_heads(self, features: Mapping[Read, Features], batch: Batch) -> Outputs:
        """Further outputs, made by the averaged parameters and without gradient, on `ema` reads."""
        return {}

    def __call__(self, outputs: Outputs, batch: Batch, *, train: bool) -> Outcome:
        """The loss of the global batch: only what compares examples, memory and scale.

        `batch["step"]` counts the updates before this one. In evaluation and at initialisation memory
        must stay as it is: `train` says so.
        """
        raise TypeError(f"{type(self).__name__} defines no loss")

    # Whether it can learn from rows that are mixtures of two: `batch["mixture"]` of `train/mixup.py`; and
    # whether of such alone that have half of each.
    takes_mixtures = False
    takes_means_alone = False

    def answered(self, batch: Batch) -> Array:
        """bool [batch]: the rows of which it is known what is to be said of them; others are never mixed."""
        raise TypeError(f"{type(self).__name__} takes no mixtures")

    def initialise(self, features: Mapping[Read, Features], batch: Batch) -> Outcome:
        """All parts in one pass, so that `init` meets every parameter and every memory."""
        outputs = {**self.heads(features, batch, train=False), **self.target_heads(features, batch)}
        return self(outputs, batch, train=False)

    def refresh_due(self, step: int) -> bool:
        """Whether something is recomputed from the whole data before update `step` + 1."""
        return False

    # Whether `heads` look into memory in evaluation too, which is then read from the checkpoint.
    heads_read_memory = False

    # Whether a refresh needs a pass over the data, and whether that pass draws windows, crops, colours and
    # volume as training does, or takes centre clips as they are.
    refresh_pass = False
    refresh_draws = False
    # Without a pass, whether it wants all classes of a record, of which there may be several.
    refresh_tags = False

    def refresh_outputs(self, features: Mapping[Read, Features], batch: Batch) -> Outputs:
        """What the pass keeps of each record: arrays [batch, ...]; by default the embeddings."""
        return {
            "video": features[self.video_read].embedding,
            "audio": features[self.audio_read].embedding,
        }

    def refresh(self, owned: Owned, kept: Outputs, seen: Array, step: int, key: Array) -> Owned:
        """New parameters and memory from what the pass kept, row = record; `seen` marks the rows it met.

        Without a pass, `kept` is what is known unread: the `label` of each record that is trained on, else -1;
        with `refresh_tags` its `tags`, int8 [num_records, num_classes], 0 or 1, or -1: not known.
        Runs on the host between two steps, on global arrays. Moments of the optimiser for parameters that
        it replaces begin anew.
        """
        raise TypeError(f"{type(self).__name__} defines no refresh")

    def joint(self, outputs: Outputs) -> tuple[Array, Array] | None:
        """Video and audio vectors of one space, where the objective has one: for the cosine monitors."""
        if {"video", "audio"} <= outputs.keys():
            return outputs["video"], outputs["audio"]
        return None

    def clusters(self, outputs: Outputs) -> dict[str, Array]:
        """The cluster of each clip by modality, int [batch], where the objective has labels of its own."""
        return {}

    def label_logits(self, outputs: Outputs) -> dict[str, Array]:
        """A logit for each class of the data's labels, of which a clip has one, by who says so."""
        return {}

    def tag_logits(self, outputs: Outputs) -> dict[str, Array]:
        """A logit for each class of the data's labels, of which a clip may have several, by who says so."""
        return {}

    def can_say(self, batch: Batch, who: str) -> Array:
        """bool [batch]: the rows that have what `label_logits` and `tag_logits` of `who` look at."""
        return self.both_present(batch)

    @property
    def learns_labels(self) -> bool:
        """Whether it learns the one class of each clip from the data's labels."""
        return False

    # The settings with which one that learns labels learns without any.
    without_labels: ClassVar[str] = ""

    def check_classes(self, num_classes: int, encoders: Mapping[str, Any]) -> None:
        """Refuses data of more classes than could be learnt."""

    def classifies(self, encoder: str) -> bool:
        """Whether `class_logits` has logits for what that encoder gives: whether it can teach classes."""
        return False

    @property
    def classes_are_labels(self) -> bool:
        """Whether the columns of `class_logits` are the classes of the data's labels."""
        return True

    def class_logits(self, embedding: Array, encoder: str) -> Array:
        """The logits of embeddings, [batch, classes]."""
        raise TypeError(f"{type(self).__name__} has no classes")

    def detects(self, encoder: str) -> bool:
        """Whether `boxes` finds objects in what that encoder gives: whether it can teach boxes."""
        return False

    def boxes(self, features: Features) -> Array:
        """What a detector found, [batch, n, 6]: see `Target`."""
        raise TypeError(f"{type(self).__name__} finds no boxes")

    @property
    def places_view(self) -> str:
        """The view that outputs are places in, where no encoder reads it: an evaluation looks at it too."""
        return ""

    def viewpoint_scores(self, outputs: Outputs) -> dict[str, Array]:
        """How well each viewpoint's picture goes with each one's sound, [batch, v, v], by kind of score."""
        return {}

    def similarity(self, video: Array, audio: Array) -> Array:
        """How well each row of outputs["video"] goes with each of outputs["audio"], [num_video, num_audio]."""
        return cosines(video, audio)

    def row_similarity(self, video: Array, audio: Array) -> Array:
        """How well row i of outputs["video"] goes with row i of outputs["audio"], [batch]."""
        return jnp.sum(unit_rows(video) * unit_rows(audio), axis=-1)


def objective_fields(cls: type[Objective]) -> dict[str, Any]:
    """The config keys of an objective with their defaults."""
    defaults = {}
    for field in dataclasses.fields(cls):
        if field.name in NOT_KEYS:
            continue
        if field.default is dataclasses.MISSING:
            raise TypeError(f"{cls.__name__}.{field.name} needs a default")
        defaults[field.name] = field.default
    return defaults


def check_names(
    name: str, objective: Objective, views: Mapping[str, View], encoders: Mapping[str, Any]
) -> None:
    """Refuses an objective that names a view or an encoder the config lacks, or pairs them wrongly."""
    for read in objective.reads():
        if read.encoder not in encoders:
            raise unknown(f"encoder (asked for by objective '{name}')", read.encoder, encoders)
        if read.view not in views:
            raise unknown(f"view (asked for by objective '{name}')", read.view, views)
        if read.toward and read.toward not in views:
            raise unknown(f"view (asked for by objective '{name}')", read.toward, views)
        if read.mode not in MODES:
            raise unknown(f"mode of a read (asked for by objective '{name}')", read.mode, MODES)
        modality = getattr(encoders[read.encoder], "modality", None)
        if views[read.view].modality != modality:
            raise UsageError(
                f"objective '{name}' gives the {views[read.view].modality} view '{read.view}' to the "
                f"{modality} encoder '{read.encoder}'"
            )
