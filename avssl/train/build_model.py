"""The model of a resolved config: what its objectives ask for, each thing once."""

import dataclasses
from collections.abc import Mapping

from flax.core import FrozenDict

from avssl.config import ConfigDict
from avssl.data.views import View, build_views
from avssl.errors import UsageError, unknown
from avssl.models.registry import build_encoder
from avssl.objectives import build_objective
from avssl.objectives.base import Objective, Read, check_names
from avssl.signal.frontends import build_frontend
from avssl.teachers.spec import Taught, asked, build_specs
from avssl.train.mesh import compute_type
from avssl.train.model import Model


def build_model(config: ConfigDict, step: int | None = None) -> Model:
    """The model of a resolved config; objectives of weight 0 and what only they need are left out.

    A config without any is of encoders alone, each of which reads the view of its own name.

    step: the part of a curriculum that is trained from there on; None is the whole of it.
    """
    table = build_views(config.views.to_dict())
    specs = build_specs(config)
    shapes = FrozenDict({name: dict(spec.shapes) for name, spec in specs.items()})
    of_labels = tuple(name for name, spec in specs.items() if spec.classes_are_labels)
    objectives = {
        name: build_objective(
            name, keys.to_dict(), config.data.num_records, step, shapes, config.steps, of_labels
        )
        for name, keys in config.objectives.items()
        if keys.weight
    }
    dtype = compute_type(config.precision)
    encoders = {
        name: build_encoder(name, keys.to_dict(), dtype) for name, keys in config.encoders.items()
    }
    views: dict[str, View] = {}
    reads: dict[Read, None] = {}
    kinds: dict[str, dict[str, None]] = {}
    for name, objective in objectives.items():
        for view_name, view in asked_views(name, objective, table).items():
            if views.setdefault(view_name, view) != view:
                raise UsageError(
                    f"objective '{name}' asks for view '{view_name}' as {view}, another one as "
                    f"{views[view_name]}: give one of them another name"
                )
        for target in asked(name, objective, specs):
            kinds.setdefault(target.teacher, {})[target.kind] = None
        check_names(name, objective, views, encoders)
        reads.update(dict.fromkeys(objective.reads()))
        if config.ema.decay == 0 and any(read.mode == "ema" for read in objective.reads()):
            raise UsageError(
                f"objective '{name}' reads averaged parameters: set --config.ema.decay"
            )
    if not objectives:
        # Encoders that came without a run: each looks at the view of its name.
        views = {name: table[name] for name in encoders}
        reads = dict.fromkeys(Read(name, name) for name in encoders)
    taught = {
        name: Taught(
            specs[name].view,
            specs[name].is_stored,
            {kind: specs[name].shapes[kind] for kind in asked_for},
        )
        for name, asked_for in kinds.items()
    }
    for name, one in taught.items():
        if not one.stored:
            if one.view not in table:
                raise unknown(f"view in teachers.{name}.view", one.view, table)
            views.setdefault(one.view, table[one.view])
    used = {read.encoder for read in reads}
    return Model(
        views=views,
        encoders={name: encoders[name] for name in encoders if name in used},
        frontends={
            name: build_frontend(config.encoders[name].frontend.to_dict())
            for name in encoders
            if name in used
        },
        objectives=objectives,
        reads=tuple(reads),
        precision=config.precision,
        taught=taught,
        frozen=tuple(config.optimizer.get("frozen", ())),
    )


def evaluation_model(config: ConfigDict) -> Model:
    """The model without teachers, and with the views that its outputs are places in.

    Nothing is frozen: the random baseline takes its running statistics from training batches.
    """
    whole = build_model(config)
    model = whole.without_teachers()
    table = build_views(config.views.to_dict())
    views = dict(model.views)
    for name, objective in model.objectives.items():
        if place := objective.places_view:
            if place not in table:
                raise unknown(f"video_view of objective '{name}'", place, table)
            views.setdefault(place, table[place])
    return dataclasses.replace(model, views=views, frozen=())


def asked_views(name: str, objective: Objective, table: Mapping[str, View]) -> dict[str, View]:
    try:
        return objective.views(table)
    except KeyError as error:
        raise UsageError(
            f"objective '{name}' needs the view {error}, which the config does not define; "
            f"defined: {', '.join(table)}"
        ) from error
