"""What the trained encoders of a run say of its evaluation data: one pass, as `avssl evaluate` makes it."""

import dataclasses
import zlib
from collections.abc import Sequence

import numpy as np

from avssl.data.open import open_source
from avssl.data.record import Source
from avssl.evaluate.features import Extractor
from avssl.evaluate.measurement import both_sides, usable
from avssl.evaluate.run import sources, trained_variables
from avssl.evaluate.sides import Part, Sides
from avssl.report.runs import ReportedRun
from avssl.train.build_model import evaluation_model
from avssl.train.model import Model
from avssl.train.stream import training_indices

# Of larger parts so many clips are drawn: a report shows examples, `avssl evaluate` gives the numbers.
MOST_TRAIN, MOST_TEST = 8192, 4096
TRAINED = "trained"


@dataclasses.dataclass(frozen=True)
class Used:
    """What became of the clips of a part: of `num_records`, `looked_at` were drawn, `used` gave features.

    `num_without` are those that the source knows to lack a modality.
    """

    name: str
    source: Source
    num_records: int
    num_without: int
    looked_at: np.ndarray
    used: np.ndarray
    num_unreadable: int

    @property
    def lost(self) -> np.ndarray:
        return np.setdiff1d(self.looked_at, self.used)


@dataclasses.dataclass(frozen=True)
class Evidence:
    """Features of both parts by the newest checkpoint; their labels number the classes of `class_names`."""

    step: int
    model: Model
    extractor: Extractor
    sides: Sides
    parts: tuple[Used, Used]
    seed: int

    @property
    def class_names(self) -> list[str]:
        """Those of the training part, then those of the test part alone, as `classes_by_name` numbers them."""
        fitted, scored = (part.source.label_names for part in self.parts)
        return (
            list(dict.fromkeys((*fitted, *scored))) if fitted and scored else list(fitted or scored)
        )

    @property
    def embeddings(self) -> dict[str, np.ndarray]:
        """Of the test part, by modality: video before audio."""
        found = self.sides.test.embeddings
        return {modality: found[modality] for modality in sorted(found, reverse=True)}

    def test_key(self, row: int) -> str:
        return self.sides.scored[0].key(int(self.sides.test.index[row]))

    def class_of(self, label: int) -> str:
        """The name of a class; nothing for a clip without one."""
        names = self.class_names
        if label < 0:
            return ""
        return names[label] if label < len(names) else f"class {label}"


def gather(run: ReportedRun) -> Evidence:
    """UsageError where the run has no checkpoint, or its data are not there."""
    model = evaluation_model(run.config)
    step, variables, _ = trained_variables(run.folder, model)
    train, test = sources(run.config, "", "")
    seed = run.config.seed
    drawn = [drawn_of(part, most, seed) for part, most in ((train, MOST_TRAIN), (test, MOST_TEST))]
    fitted, scored = (usable(model, *part) for part in drawn)
    source = open_source(run.config.data.source)
    trained_on = source, training_indices(run.config, source, model)
    extractor = Extractor(model)
    sides = both_sides(
        extractor, {TRAINED: variables}, fitted, scored, trained_on, run.config.data.workers
    )[TRAINED]
    parts = tuple(
        Used(
            name, source, len(all_indices), len(indices) - len(kept), kept, extracted.index,
            extracted.num_unreadable,
        )
        for name, (source, all_indices), (_, indices), (_, kept), extracted in (
            ("training part", train, drawn[0], fitted, sides.train),
            ("test part", test, drawn[1], scored, sides.test),
        )
    )  # fmt: skip
    return Evidence(step, model, extractor, sides, (parts[0], parts[1]), seed)


def drawn_of(part: Part, most: int, seed: int) -> Part:
    """All records of a part, or so many drawn by the seed, in their order."""
    source, indices = part
    if len(indices) <= most:
        return part
    return source, np.sort(draws(seed, f"part {source.spec}").choice(indices, most, replace=False))


def draws(seed: int, purpose: str) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(purpose.encode())])


def spread_over_classes(labels: Sequence[int] | np.ndarray, seed: int) -> list[int]:
    """All rows in an order whose beginning, however short, spreads over the classes; drawn by the seed."""
    generator = draws(seed, "queries")
    shuffled = generator.permutation(len(labels))
    classes = np.asarray(labels)[shuffled]
    turn = np.zeros(len(labels), np.int64)  # how many of its class stand before it
    for each in np.unique(classes):
        own = classes == each
        turn[own] = np.arange(own.sum())
    return shuffled[np.lexsort((np.arange(len(labels)), turn))].tolist()
