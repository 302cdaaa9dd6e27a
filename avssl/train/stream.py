"""The training stream of a config: which records, and the pipeline over them."""

import numpy as np

from avssl.config import ConfigDict
from avssl.console import say
from avssl.data.balanced import class_parts
from avssl.data.holdout import split_holdout
from avssl.data.joined import Join
from avssl.data.needs import all_modalities_known, what_is_lacking
from avssl.data.pipeline import Pipeline, usable_indices
from avssl.data.record import Source
from avssl.data.views import build_views
from avssl.errors import UsageError
from avssl.teachers.open import Teachers, open_teachers
from avssl.train.build_model import build_model
from avssl.train.lookers import Looker, lookers
from avssl.train.model import Model


def training_indices(config: ConfigDict, source: Source, model: Model) -> np.ndarray:
    """All records but the held-out ones and those that lack a modality we need."""
    kept, held_out = split_holdout(source, config.data.holdout_fraction)
    # What only a teacher looks at may be lacking: the clip is then not taught.
    needed = {
        view.modality
        for one in model.objectives.values()
        for view in one.needed_views(model.views).values()
    }
    usable, num_left_out = usable_indices(source, needed, kept)
    if len(held_out):
        say(f"data: {len(held_out)} of {len(source)} records held out of training")
    if num_left_out:
        lacking = " or ".join(sorted(needed)) or "video and audio"
        say(f"data: {num_left_out} records lack {lacking} and are left out")
    return usable


def training_pipeline(
    config: ConfigDict,
    source: Source,
    model: Model,
    indices: np.ndarray,
    teachers: Teachers | None = None,
    rows: np.ndarray | None = None,
) -> Pipeline:
    """teachers: whose stores are joined; none where only the student's own views matter.

    rows: those of each batch that are read here, all by default.
    """
    return Pipeline(
        source,
        dict(model.views),
        batch_size=config.batch_size,
        seed=config.seed,
        workers=config.data.workers,
        cache=config.data.cache,
        cache_gigabytes=config.data.cache_gigabytes,
        rows=rows,
        indices=indices,
        parts=class_parts(source, indices) if config.data.get("class_balanced") else None,
        with_replacement=config.data.get("with_replacement", False),
        joins=joins(config, model, teachers) if teachers else {},
    )


def joins_of(config: ConfigDict, source: Source) -> dict[str, Join]:
    """The stores of a config, checked against a source."""
    config, teachers = open_teachers(config, source)
    return joins(config, build_model(config), teachers)


def joins(config: ConfigDict, model: Model, teachers: Teachers) -> dict[str, Join]:
    """The stores that the objectives of a model ask."""
    made = {}
    for name, one in model.taught.items():
        if one.stored:
            view = None
            if one.view and teachers.stores[name].needs_view(tuple(one.shapes)):
                view = build_views(config.views.to_dict())[one.view]
            made[name] = Join(teachers.stores[name], dict(one.shapes), view)
    return made


def check_needs(source: Source, indices: np.ndarray, model: Model) -> None:
    """Refuses, before anything is compiled, an objective whose views the source cannot give."""
    check_modalities(source, indices, model)
    labels = source.labels()[indices]
    num_classes = len(np.unique(labels[labels >= 0]))
    for name, objective in model.objectives.items():
        if objective.learns_labels and num_classes < 2:
            settings = objective.without_labels
            raise UsageError(
                f"objective '{name}' learns classes, and the {len(indices)} clips of {source.spec} have "
                f"{'one alone' if num_classes else 'none'}: take a fold or a folder with two at least"
                + (f", or set {settings} of {objective.config_key}" if settings else "")
            )
        objective.check_classes(len(source.label_names), model.encoders)
        for view_name, view in objective.views(model.views).items():
            if lack := what_is_lacking(source, indices, view):
                raise UsageError(f"objective '{name}' needs, for its view '{view_name}', {lack}")
    for name, one in model.taught.items():
        if not one.stored and (lack := what_is_lacking(source, indices, model.views[one.view])):
            raise UsageError(f"teacher '{name}' needs, for its view '{one.view}', {lack}")


def check_modalities(source: Source, indices: np.ndarray, model: Model) -> None:
    """The same for whole modalities, where the source knows them; says which clips do not show a view."""
    if (known := source.modalities()) is None:
        return
    has: dict[str, np.ndarray] = dict(zip(("video", "audio"), known, strict=True))
    # None is left where objectives need what no record has.
    among = indices if len(indices) else np.arange(len(source))
    for one in lookers(model):
        shown = np.ones(len(among), bool)
        for modality in one.modalities:
            shown &= has[modality][among]
        number = int(np.count_nonzero(shown))
        if not number:
            raise one.refusal(f"{len(among)} clips", source.spec)
        if number < len(among) and len(indices):
            say(
                f"data: {len(among) - number} of {len(among)} clips lack {one.wants}: nothing of "
                f"{one.called} in them"
            )
    for name, objective in model.objectives.items():
        for view_name, view in objective.views(model.views).items():
            if not has[view.modality][among].any():
                say(
                    f"data: no clip has {view.modality}: objective '{name}' learns nothing from its view "
                    f"'{view_name}'"
                )


def lookers_in_doubt(source: Source, model: Model) -> tuple[Looker, ...]:
    """Those that may find, when files are opened, that none shows what they look at."""
    found = lookers(model)
    # What every clip must have is judged anyway: what a source knows need not be so.
    return found[:1] if all_modalities_known(source) else found
