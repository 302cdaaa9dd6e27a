"""One table of results: protocols on the features of some weights, beside the same encoders at random.

Compiled programs and the scores of the random encoders are kept: a run that is measured every so many steps of
its training pays for both once.
"""

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from avssl.config import ConfigDict, from_json
from avssl.console import say
from avssl.data.needs import what_is_lacking
from avssl.data.pipeline import usable_indices
from avssl.data.record import Source
from avssl.data.views import VideoView
from avssl.errors import UsageError
from avssl.evaluate.baseline import NUM_BATCHES, random_variables
from avssl.evaluate.features import Extracted, Extractor, nothing
from avssl.evaluate.places import PLAIN, MapOptions
from avssl.evaluate.protocols import FITTED
from avssl.evaluate.rows import Row
from avssl.evaluate.saying import sayable, with_incomplete
from avssl.evaluate.side_alone import for_data
from avssl.evaluate.sides import Part, Score, Sides, classes_by_name
from avssl.evaluate.windows import Averaging, Windows
from avssl.train.model import Model
from avssl.train.sources import open_data
from avssl.train.stream import training_indices, training_pipeline

Protocol = Callable[[Model, Sides], list[Score]]
# The protocols that score what objectives say themselves.
SAYING = {"classification", "tagging"}
AVERAGING = "classification and tagging"


@dataclasses.dataclass
class Measurement:
    """Measures weights of a config's encoders, as often as it is asked to.

    train, test: the records that probes train on and are scored on, the first looked at only for those of the
    protocols; where they lack a modality, `model` is the part of the `whole` one that they can be shown to.
    several: the windows that `classification` and `tagging` average. asked_for: whether a protocol that the
    data do not allow is an error. layers: see `layers.py`. maps: how `localization` is scored. known_classes:
    see `Sides`.
    """

    config: ConfigDict
    model: Model
    train: Part
    test: Part
    protocols: Mapping[str, Protocol]
    asked_for: bool = False
    several: Windows | None = None
    layers: Sequence[str] = ()
    maps: MapOptions = PLAIN
    known_classes: Sequence[str] | None = None
    random: dict[str, list[Score]] = dataclasses.field(default_factory=dict)
    compiled: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        self.whole, self.model = self.model, for_data(self.model, self.parts)
        source, indices = self.test
        self.sayable = source, sayable(self.model, source, indices)
        if self.fits:
            self.train = usable(self.model, *self.train)
        self.test = usable(self.model, *self.test)
        for part in self.parts:
            check_media(*part, self.model)
        source = open_data(self.config, self.config.data.source, needs_cache=False)
        self.trained_on = source, training_indices(self.config, source, self.whole)
        self.compiled["features"] = Extractor(self.model, layers=self.layers)

    @property
    def fits(self) -> bool:
        """Whether any protocol reads the training part."""
        return bool(set(FITTED) & self.protocols.keys())

    @property
    def parts(self) -> tuple[Part, ...]:
        """Those that are looked at."""
        return (self.train, self.test) if self.fits else (self.test,)

    def __call__(self, variables: Any, name: str) -> tuple[list[Row], Sides]:
        """The rows of these weights, and what was measured of them. name: of the weights, for people.

        A protocol that the data do not allow is left out with a word, now and ever after.
        """
        weights = {"trained": variables}
        if not self.random:
            weights["random"] = baseline(self.config, self.whole)
        sides = both_sides(
            self.compiled["features"], weights, self.train, self.test, self.trained_on,
            self.config.data.workers, fits=self.fits,
        )  # fmt: skip
        sides = {
            # Tables of results have an interval of the trained weights alone.
            who: dataclasses.replace(
                own,
                compiled=self.compiled,
                with_intervals=who == "trained",
                known_classes=self.known_classes,
            )
            for who, own in sides.items()
        }
        trained = sides["trained"]
        if self.fits:
            tell_lost(self.train, trained.train)
        tell_lost(self.test, trained.test)
        scored = self.test[0].spec
        say(f"evaluated {name} on {len(trained.test.index)} clips of {scored}")
        asked = sides
        if SAYING & self.protocols.keys():
            asked = self.with_incomplete(sides)
            if self.several:
                asked = self.with_windows(asked)
        rows, allowed = [], {}
        for protocol, measure in self.protocols.items():
            each = asked if protocol in SAYING else sides
            try:
                ours = measure(self.model, each["trained"])
                if "random" in each:
                    self.random[protocol] = measure(self.model, each["random"])
            except UsageError as error:
                if self.asked_for:
                    raise
                say(f"left out: {protocol}, as {error}")
                continue
            if not ours and self.model is not self.whole:
                say(f"left out: {protocol}, as it asks what is left out of the model")
            allowed[protocol] = measure
            rows += [
                row_of(protocol, *pair) for pair in zip(ours, self.random[protocol], strict=True)
            ]
        self.protocols = allowed
        return rows, trained

    def with_incomplete(self, sides: dict[str, Sides]) -> dict[str, Sides]:
        """With the test clips too that lack a modality which some objective does without."""
        extractor = self.compiled["features"]
        asked = with_incomplete(
            self.model, extractor, sides, self.sayable, self.config.data.workers
        )
        if more := len(asked["trained"].test.index) - len(sides["trained"].test.index):
            say(f"{AVERAGING}: {more} clips more, without a modality that an objective can lack")
        return asked

    def with_windows(self, sides: Mapping[str, Sides]) -> dict[str, Sides]:
        """With what is said of several windows, of the test clips that can be read in each of them."""
        assert self.several is not None
        first = next(iter(sides.values()))
        weights = {name: own.variables for name, own in sides.items()}
        if "windows" not in self.compiled:
            self.compiled["windows"] = Averaging(self.model, first.variables, self.several)
        kept, said = self.compiled["windows"](
            weights, first.scored[0], first.test.index, workers=first.workers
        )
        lost = int(np.count_nonzero(~kept))
        say(
            f"{AVERAGING}: {self.several}"
            + (f", {lost} of {len(kept)} left out: unreadable" if lost else "")
        )
        return {
            name: dataclasses.replace(own, test=own.test.where(kept), averaged=said[name])
            for name, own in sides.items()
        }


def row_of(protocol: str, ours: Score, random: Score) -> Row:
    low, high = ours.interval or (None, None)
    baseline = random.value if ours.of_weights else None
    numbers = ours.value, baseline, ours.chance, ours.n, low, high
    return Row(protocol, ours.features, ours.metric, *numbers)


def tell_lost(part: Part, extracted: Extracted) -> None:
    source, indices = part
    if num_lost := len(indices) - len(extracted.index):
        say(
            f"{source.spec}: {num_lost} of {len(indices)} clips are not used: "
            f"{extracted.num_unreadable} cannot be read, the others lack a modality"
        )


def both_sides(
    extractor: Extractor,
    weights: Mapping[str, Any],
    train: Part,
    test: Part,
    trained_on: Part,
    workers: int,
    fits: bool = True,
) -> dict[str, Sides]:
    """Features of both parts, with the test labels in the numbering of the training part.

    fits: whether anything reads those of the training part; else it is left alone.
    """
    fitted = dict.fromkeys(weights, nothing())
    if fits:
        fitted = one_side(extractor, weights, train, workers, features_alone=True)
    scored = one_side(extractor, weights, test, workers)

    def side(name: str) -> Sides:
        names = test[0].label_names, train[0].label_names
        labels = classes_by_name(scored[name].labels, *names)
        tested = dataclasses.replace(scored[name], labels=labels)
        return Sides(weights[name], fitted[name], tested, test, trained_on, workers, fitted=train)

    return {name: side(name) for name in weights}


def one_side(
    extractor: Extractor,
    weights: Mapping[str, Any],
    part: Part,
    workers: int,
    features_alone: bool = False,
) -> dict[str, Extracted]:
    """Features of the clips that have every modality the model looks at."""
    extracted = extractor.extract(weights, *part, workers=workers, features_alone=features_alone)
    present = next(iter(extracted.values())).present
    whole = np.logical_and.reduce(list(present.values()))
    if not whole.any():
        raise UsageError(
            f"none of the {len(part[1])} clips of {part[0].spec} can be used; look at them with "
            f"`avssl data verify {part[0].spec}`"
        )
    return {name: features.where(whole) for name, features in extracted.items()}


def usable(model: Model, source: Source, indices: np.ndarray) -> Part:
    """The records that have every modality the model looks at, as far as the source knows."""
    needed = {view.modality for view in model.views.values()}
    kept, num_left_out = usable_indices(source, needed, indices)
    if num_left_out:
        say(f"{source.spec}: {num_left_out} clips lack a modality and are left out")
    if not len(kept):
        raise UsageError(f"no clip of {source.spec} has {' and '.join(sorted(needed))}")
    return source, kept


def check_media(source: Source, indices: np.ndarray, model: Model) -> None:
    """Refuses media of another kind than the encoders were trained on: fewer channels, no panorama, one eye.

    Boxes, and the length that training needed, are the business of protocols.
    """
    for name, view in model.without_draws().views.items():
        plain: dict[str, Any] = {"shift_seconds": (0.0, 0.0)}
        if isinstance(view, VideoView):
            plain["objects"] = 0
        if lack := what_is_lacking(source, indices, dataclasses.replace(view, **plain)):
            raise UsageError(f"the view '{name}' of this run needs {lack}")


def baseline(config: ConfigDict, model: Model) -> Any:
    """Random parameters of the run's seed; statistics from the run's own training batches."""
    source = open_data(config, config.data.source, needs_cache=False)
    indices = training_indices(config, source, model)
    # A run trained on whole batches; imported encoders may stand before less data than one.
    config = from_json(config.to_dict())
    config.batch_size = min(config.batch_size, len(indices))
    pipeline = training_pipeline(config, source, model, indices)
    batches = pipeline.batches(0)
    try:
        return random_variables(model, config.seed, itertools.islice(batches, NUM_BATCHES))
    finally:
        batches.close()
