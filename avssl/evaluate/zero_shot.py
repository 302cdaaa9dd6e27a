"""Zero-shot: clips are named by the nearest class vector, such as what a text model says of the class."""

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from avssl.console import say
from avssl.convert.encoder_file import SUFFIX, read_arrays
from avssl.data.keys import printable
from avssl.errors import UsageError
from avssl.evaluate.checks import finite_features
from avssl.evaluate.sides import Score, Sides
from avssl.train.model import Model

MAX_BYTES = 1 << 30
# Shorter is the rounding of unit vectors that cancel out, which points anywhere.
LEAST_MEAN = 1e-6
ADVICE = "a .npz or .safetensors file that has for each class, by its name, a vector [d] or several [k, d]"


def zero_shot(model: Model, sides: Sides, vectors: Path | None = None) -> list[Score]:
    """`top1` and `top5` by the cosine of clips and class vectors in the common space of an objective.

    The candidates are the classes of the test source that have a vector; clips of the others are left out, and
    of equally near classes the true one counts as last. Several vectors of a class (prompts) are its mean, each
    of unit length. Of every objective that has a space of sight and sound, the first without a prefix.
    """
    if vectors is None:
        raise UsageError(f"zero_shot needs class vectors: --class-vectors FILE, {ADVICE}")
    given, names = read_vectors(vectors), sides.scored[0].label_names
    known = [place for place, name in enumerate(names) if name in given]
    if len(known) < 2:
        raise UsageError(f"{vectors} has vectors of {len(known)} classes of {sides.scored[0].spec}")
    labels = sides.scored[0].labels()[sides.test.index]
    true = np.isin(labels, known)
    if not true.any():
        raise UsageError(f"no clip of {sides.scored[0].spec} is of a class that {vectors} has")
    if len(known) < len(names):
        say(
            f"zero_shot: {len(names) - len(known)} of {len(names)} classes have no vector in {vectors}; "
            f"{np.count_nonzero(~true)} clips are left out"
        )
    candidates = [unit_mean(given[names[place]], names[place], vectors) for place in known]
    targets = np.searchsorted(known, labels[true])
    scores: list[Score] = []
    for name, objective in model.objectives.items():
        pair = objective.joint(sides.test.of(name))
        if pair is None:
            continue
        prefix = f"{name}/" if scores else ""
        for who, embedded in zip(("video", "audio"), pair, strict=True):
            ranks = ranked_classes(np.asarray(embedded)[true], candidates, targets, vectors)
            for k in (1, 5):
                if k < len(known):
                    hits, chance = ranks < k, k / len(known)
                    scores.append(Score.of_clips(who, f"{prefix}top{k}", hits, chance))
    if not scores:
        raise UsageError("no objective of this run has a space of sight and sound, as xid does")
    return scores


def ranked_classes(
    clips: Float[np.ndarray, "n d"],
    candidates: list[Float[np.ndarray, "d"]],
    targets: np.ndarray,
    file: Path,
) -> np.ndarray:
    """How many other classes are at least as near to each clip as its own."""
    if {len(vector) for vector in candidates} != {clips.shape[1]}:
        sizes = ", ".join(sorted({str(len(vector)) for vector in candidates}))
        raise UsageError(
            f"{file} has vectors of {sizes} numbers, and the clips have {clips.shape[1]}: they must be of the "
            "space of this run's projection"
        )
    # Their length does not change which class is nearer.
    near = finite_features(clips, "clips' vectors") @ np.stack(candidates).T
    own = np.take_along_axis(near, targets[:, None], axis=1)
    ahead: Bool[np.ndarray, "n c"] = near >= own
    return ahead.sum(axis=1) - 1


def unit_mean(vectors: np.ndarray, name: str, file: Path) -> Float[np.ndarray, "d"]:
    vectors = np.atleast_2d(vectors).astype(np.float64)
    mean = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).mean(axis=0)
    if (length := np.linalg.norm(mean)) < LEAST_MEAN:
        raise UsageError(
            f"the vectors of '{printable(name)}' in {file} cancel out and have no mean: leave some out"
        )
    return mean / length


def read_vectors(file: Path) -> Mapping[str, np.ndarray]:
    """By name; numbers alone, finite and not zero."""
    if not file.is_file():
        raise UsageError(f"'{printable(str(file))}' is no file; --class-vectors takes {ADVICE}")
    arrays = read_arrays(file) if file.suffix == SUFFIX else read_npz(file)
    for name, array in arrays.items():
        sound = array.ndim in (1, 2) and array.size and array.dtype.kind in "fiu"
        norms = np.linalg.norm(np.atleast_2d(array), axis=1) if sound else np.zeros(1)
        if not (np.isfinite(norms) & (norms > 0)).all():
            raise UsageError(
                f"'{printable(name)}' in {file} is no vector of numbers, or a zero one"
            )
    return arrays


def read_npz(file: Path) -> dict[str, np.ndarray]:
    try:
        with zipfile.ZipFile(file) as members:
            if sum(member.file_size for member in members.infolist()) > MAX_BYTES:
                raise ValueError(f"it unpacks to more than {MAX_BYTES >> 20} MiB")
        with np.load(file, allow_pickle=False) as opened:
            return dict(opened)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UsageError(
            f"'{printable(str(file))}' cannot be read ({error}); it must be {ADVICE}"
        ) from error
