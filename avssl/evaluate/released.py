"""`--released NAME`: what a released evaluator does otherwise than ours, and in which protocol."""

import dataclasses
from collections.abc import Sequence

from avssl.data.views import squashed
from avssl.errors import UsageError, unknown
from avssl.evaluate.localization import RELEASED, SQUASHING
from avssl.train.model import Model

OF_BOXES = ("mm_distillnet",)
PROTOCOL = {**dict.fromkeys(RELEASED, "localization"), **dict.fromkeys(OF_BOXES, "detection")}


def check_released(name: str, protocols: Sequence[str]) -> None:
    """Refuses a name that none of the protocols knows; empty is none."""
    if not name:
        return
    if name not in PROTOCOL:
        raise unknown("--released", name, PROTOCOL)
    protocol = PROTOCOL[name]
    if protocol not in protocols:
        raise UsageError(f"--released {name} is of the protocol {protocol}: add it to --protocols")
    if name in SQUASHING and set(protocols) != {protocol}:
        raise UsageError(
            f"--released {name} looks at whole frames, squashed into a square, as no other protocol does: give "
            f"--protocols {protocol} alone"
        )


def as_released(name: str, model: Model) -> Model:
    """The model with the pictures that the released evaluator looks at."""
    if name not in SQUASHING:
        return model
    views = {key: squashed(view) for key, view in model.views.items()}
    return dataclasses.replace(model, views=views)
