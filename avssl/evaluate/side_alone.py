"""Data that lack a modality, as pictures do sound: the other side of the model is evaluated alone."""

import dataclasses
from collections.abc import Sequence

from avssl.console import say
from avssl.data.needs import modalities_there
from avssl.evaluate.sides import Part
from avssl.train.model import Model


def for_data(model: Model, parts: Sequence[Part]) -> Model:
    """The model, or what is left of it where no clip of some part has a modality; says what is left out."""
    for source, indices in parts:
        there = modalities_there(source, indices)
        looked_at = {view.modality for view in model.views.values()}
        if not there or looked_at <= there or not looked_at & there:
            # Nothing to leave out, or nothing would be left, which is said elsewhere.
            continue
        whole, model = model, only_modalities(model, there)
        names = [f"encoder '{name}'" for name in whole.encoders if name not in model.encoders]
        names += [
            f"objective '{name}'" for name in whole.objectives if name not in model.objectives
        ]
        lacking = " and ".join(sorted(looked_at - there))
        say(f"{source.spec} has no {lacking}: left out: {', '.join(names)}")
    return model


def only_modalities(model: Model, modalities: set[str]) -> Model:
    """The encoders of these modalities, and the objectives that read nothing else."""
    views = {name: view for name, view in model.views.items() if view.modality in modalities}

    def can_be_read(read) -> bool:
        return read.view in views and (not read.toward or read.toward in views)

    reads = tuple(filter(can_be_read, model.reads))
    used = {read.encoder for read in reads}
    objectives = {
        name: one
        for name, one in model.objectives.items()
        if all(map(can_be_read, one.reads())) and one.places_view in ("", *views)
    }
    return dataclasses.replace(
        model,
        views=views,
        encoders={name: model.encoders[name] for name in model.encoders if name in used},
        frontends={name: model.frontends[name] for name in model.frontends if name in used},
        objectives=objectives,
        reads=reads,
    )
