"""The registry: one line an objective."""

from collections.abc import Mapping
from typing import Any

from flax.core import FrozenDict

from avssl.errors import unknown
from avssl.objectives.avc import Avc
from avssl.objectives.ave import Ave
from avssl.objectives.avid import Avid
from avssl.objectives.avsa import Avsa
from avssl.objectives.avts import Avts
from avssl.objectives.base import Objective, objective_fields
from avssl.objectives.ccl import Ccl
from avssl.objectives.cma import Cma
from avssl.objectives.cmc import Cmc
from avssl.objectives.crd import Crd
from avssl.objectives.desa import Desa
from avssl.objectives.distill import Distill
from avssl.objectives.dmc import Dmc
from avssl.objectives.mcn import Mcn
from avssl.objectives.mke import Mke
from avssl.objectives.mutual import Mutual
from avssl.objectives.robust_xid import RobustXid
from avssl.objectives.selavi import Selavi
from avssl.objectives.supervised import Supervised
from avssl.objectives.three_level import ThreeLevel
from avssl.objectives.xdc import Xdc
from avssl.objectives.xid import Xid

OBJECTIVES: dict[str, type[Objective]] = {
    "avc": Avc,
    "ave": Ave,
    "avid": Avid,
    "avsa": Avsa,
    "avts": Avts,
    "ccl": Ccl,
    "cma": Cma,
    "cmc": Cmc,
    "crd": Crd,
    "desa": Desa,
    "distill": Distill,
    "dmc": Dmc,
    "mcn": Mcn,
    "mke": Mke,
    "mutual": Mutual,
    "robust_xid": RobustXid,
    "selavi": Selavi,
    "supervised": Supervised,
    "three_level": ThreeLevel,
    "xdc": Xdc,
    "xid": Xid,
}


def objective_defaults(name: str) -> dict[str, Any]:
    """The config keys of an objective with their defaults."""
    if name not in OBJECTIVES:
        raise unknown("objective", name, OBJECTIVES)
    return objective_fields(OBJECTIVES[name])


def build_objective(
    name: str,
    config: Mapping[str, Any],
    num_records: int = 0,
    step: int | None = None,
    target_shapes: Mapping[str, Mapping[str, tuple[int, ...]]] = FrozenDict(),
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
    objective = OBJECTIVES[name](**values, num_records=num_records, target_shapes=target_shapes)
    borders = objective.stage_steps()
    if step is None or not borders:
        return objective
    return objective.clone(stage=sum(border <= step for border in borders))
