"""The nearest clips of some queries: across modalities by the objective's score, within one by the cosine."""

import dataclasses
from collections.abc import Sequence

import jax
import numpy as np

from avssl.errors import UsageError
from avssl.evaluate.blocks import block_rows, in_blocks
from avssl.evaluate.neighbours import nearest_others
from avssl.evaluate.protocols import directed
from avssl.evaluate.retrieval import GALLERY_BLOCK
from avssl.report.evidence import Evidence


@dataclasses.dataclass(frozen=True)
class Direction:
    """From a query of one modality to clips of another, or of the same.

    Row i of `rows` and `scores` are the clips nearest to query i, the nearest first. `own_ranks`: where each
    query's own clip stands, from 1; None within a modality, where the query itself is left out.
    """

    query: str
    gallery: str
    measure: str
    rows: np.ndarray
    scores: np.ndarray
    own_ranks: np.ndarray | None


def directions(evidence: Evidence, queries: Sequence[int], neighbours: int) -> list[Direction]:
    """Both ways across modalities where an objective has a score for it, then within each modality."""
    found = []
    if (name := ranking_objective(evidence)) is not None:
        for query, gallery in (("video", "audio"), ("audio", "video")):
            scores = scores_across(evidence, name, query, gallery, queries)
            order = np.argsort(-scores, axis=1, kind="stable")[:, :neighbours]
            own = scores[np.arange(len(queries)), queries]
            # As retrieval counts: what scores the same stands before it.
            ranks = (scores >= own[:, None]).sum(axis=1)
            best = np.take_along_axis(scores, order, axis=1)
            found.append(Direction(query, gallery, f"score of {name}", order, best, ranks))
    for modality, features in evidence.embeddings.items():
        scores, rows = nearest_others(features, np.asarray(queries), neighbours)
        found.append(Direction(modality, modality, "cosine", rows, scores, None))
    return found


def ranking_objective(evidence: Evidence) -> str | None:
    """The first objective that has a score between a video and a sound, as `retrieval` takes it."""
    for name in evidence.model.objectives:
        if {"video", "audio"} <= evidence.sides.test.outputs[name].keys():
            return name
    return None


def scores_across(
    evidence: Evidence, name: str, query: str, gallery: str, queries: Sequence[int]
) -> np.ndarray:
    """[queries, clips] of the objective's own similarity."""
    outputs = evidence.sides.test.outputs[name]
    parameters = evidence.sides.variables["params"]["objectives"][name]
    asked, whole = outputs[query][list(queries)], outputs[gallery]
    compare = jax.jit(
        lambda parameters, rows, block: directed(
            evidence.model, name, query == "audio", parameters, rows, block
        )
    )
    blocks = in_blocks(whole, block_rows(len(whole), GALLERY_BLOCK), 0.0)
    scores = np.concatenate(
        [np.asarray(compare(parameters, asked, block)) for block in blocks], axis=1
    )
    scores = scores[:, : len(whole)]
    if not np.isfinite(scores).all():
        raise UsageError(f"objective '{name}' gives scores that are not finite")
    return scores
