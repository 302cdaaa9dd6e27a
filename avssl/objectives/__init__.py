"""The registry: one line an objective."""

from collections.abc import Mapping
from typing import Any

from flax.core import FrozenDict

from avssl.errors import unknown
from avssl.objectives.ambient import Ambient
from avssl.objectives.av_mae import AvMae
from avssl.objectives.avc import Avc
from avssl.objectives.ave import Ave
from avssl.objectives.avid import Avid
from avssl.objectives.avl import Avl
from avssl.objectives.avsa import Avsa
from avssl.objectives.avts import Avts
from avssl.objectives.base import Objective, objective_fields
from avssl.objectives.ccl import Ccl
from avssl.objectives.classify import Classify
from avssl.objectives.cma import Cma
from avssl.objectives.cmc import Cmc
from avssl.objectives.crd import Crd
from avssl.objectives.desa import Desa
from avssl.objectives.detect import Detect
from avssl.objectives.distill import Distill
from avssl.objectives.dmc import Dmc
from avssl.objectives.ez_vsl import EzVsl
from avssl.objectives.lvs import Lvs
from avssl.objectives.mcn import Mcn
from avssl.objectives.mke import Mke
from avssl.objectives.mm_distillnet import MmDistillnet
from avssl.objectives.mutual import Mutual
from avssl.objectives.robust_xid import RobustXid
from avssl.objectives.selavi import Selavi
from avssl.objectives.soundnet import Soundnet
from avssl.objectives.stereo_soundnet import StereoSoundnet
from avssl.objectives.supervised import Supervised
from avssl.objectives.three_level import ThreeLevel
from avssl.objectives.xdc import Xdc
from avssl.objectives.xid import Xid

OBJECTIVES: dict[str, type[Objective]] = {
    "ambient": Ambient,
    "av_mae": AvMae,
    "avc": Avc,
    "ave": Ave,
    "avid": Avid,
    "avl": Avl,
    "avsa": Avsa,
    "avts": Avts,
    "ccl": Ccl,
    "classify": Classify,
    "cma": Cma,
    "cmc": Cmc,
    "crd": Crd,
    "desa": Desa,
    "detect": Detect,
    "distill": Distill,
    "dmc": Dmc,
    "ez_vsl": EzVsl,
    "lvs": Lvs,
    "mcn": Mcn,
    "mke": Mke,
    "mutual": Mutual,
    "mm_distillnet": MmDistillnet,
    "robust_xid": RobustXid,
    "selavi": Selavi,
    "soundnet": Soundnet,
    "stereo_soundnet": StereoSoundnet,
    "supervised": Supervised,
    "three_level": ThreeLevel,
    "xdc": Xdc,
    "xid": Xid,
}


# Between the name of an objective and what tells several of them apart in one config.
SEPARATOR = "__"


def objective_class(name: str) -> type[Objective]:
    """The objective of a name of the config: `distill`, or `distill__picture` for a second one."""
    known = name.partition(SEPARATOR)[0]
    if known not in OBJECTIVES:
        raise unknown("objective", known, OBJECTIVES)
    return OBJECTIVES[known]


def objective_defaults(name: str) -> dict[str, Any]:
    """The config keys of an objective with their defaults."""
    return objective_fields(objective_class(name))


def build_objective(
    name: str,
    config: Mapping[str, Any],
    num_records: int = 0,
    step: int | None = None,
    target_shapes: Mapping[str, Mapping[str, tuple[int, ...]]] = FrozenDict(),
    num_steps: int | None = None,
    teachers_of_labels: tuple[str, ...] = (),
) -> Objective:
    """An objective from its config sub-dict; unknown keys fail with the nearest.

    step: gives it as it is trained from there on; None as it is initialised and evaluated.
    """
    defaults = objective_defaults(name)
    for key in config:
        if key not in defaults:
            raise unknown(f"key of objective '{name}'", key, defaults)
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in config.items()
    }
    objective = objective_class(name)(
        **values,
        key=name,
        num_records=num_records,
        num_steps=num_steps,
        target_shapes=target_shapes,
        teachers_of_labels=teachers_of_labels,
    )
    borders = objective.stage_steps()
    if step is None or not borders:
        return objective
    return objective.clone(stage=sum(border <= step for border in borders))
