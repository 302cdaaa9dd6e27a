"""What a protocol asks of features and labels, said in one sentence when it is not so."""

import jax.numpy as jnp
import numpy as np

from avssl.errors import AvsslError, UsageError


def finite_features(features: np.ndarray, name: str) -> np.ndarray:
    """Features as float [n, d] on the host: float64 under x64, else float32."""
    features = np.asarray(features, jnp.result_type(float))
    if features.ndim != 2:
        raise ValueError(f"{name} must have the shape [clips, size], not {features.shape}")
    bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if len(bad):
        raise AvsslError(
            f"{len(bad)} of the {len(features)} rows of the {name} are not finite "
            f"(the first is row {bad[0]}); evaluate an earlier checkpoint of this encoder"
        )
    return features


def labelled(features: np.ndarray, labels: np.ndarray, *, protocol: str, part: str) -> np.ndarray:
    """Labels as int64 [n], one of at least 0 for each row of features."""
    labels = np.asarray(labels)
    if labels.shape != (len(features),):
        raise ValueError(
            f"{len(features)} {part} features came with labels of shape {labels.shape}"
        )
    if not len(labels):
        raise UsageError(f"the {protocol} needs labelled {part} clips; there are none")
    if missing := int((labels < 0).sum()):
        raise UsageError(
            f"the {protocol} needs a label for every {part} clip; "
            f"{missing} of the {len(labels)} have none"
        )
    return labels.astype(np.int64)


def several_classes(labels: np.ndarray, *, protocol: str) -> None:
    if (labels == labels[0]).all():
        raise UsageError(
            f"the {protocol} needs labels of at least two classes; "
            f"the {len(labels)} training clips have one"
        )


def finite_scores(scores: np.ndarray) -> np.ndarray:
    scores = np.asarray(scores)
    if scores.ndim != 1:
        raise ValueError(f"scores must have the shape [n], not {scores.shape}")
    bad = np.flatnonzero(~np.isfinite(scores))
    if len(bad):
        raise AvsslError(
            f"{len(bad)} of the {len(scores)} scores are not finite (the first is number "
            f"{bad[0]}); evaluate an earlier checkpoint"
        )
    return scores
