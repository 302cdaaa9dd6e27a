"""Cross-entropy with cluster ids for labels, as XDC and its variants train."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from avssl.losses.contrastive import Scalar
from avssl.losses.rows import blank_absent, mean_present, weighted_mean


def pseudo_label_loss(
    logits: Float[Array, "b k"],
    labels: Int[Array, "b"],
    *,
    present: Bool[Array, "b"],
    class_weight: Float[Array, "k"] | None = None,
) -> tuple[Scalar, dict[str, Scalar]]:
    """Softmax cross-entropy, mean over the rows that are `present` and labelled.

    A label is one of 0 to k - 1: a row with another (-1: none yet) leaves. With `class_weight` a
    mean weighted by the weight of each row's label. 0 if there is no row.
    Metrics, unweighted: how often the label has strictly the largest logit, and the number of rows.
    """
    num_classes = logits.shape[1]
    counted = present & (labels >= 0) & (labels < num_classes)
    labels = jnp.where(counted, labels, 0)
    wide = blank_absent(logits, counted)
    own_class = jax.nn.one_hot(labels, num_classes, dtype=jnp.bool_)
    own = jnp.sum(jnp.where(own_class, wide, 0.0), axis=1)
    weights = None if class_weight is None else class_weight[labels]
    loss = weighted_mean(jax.nn.logsumexp(wide, axis=1) - own, weights, counted)
    rival = jnp.max(jnp.where(own_class, -jnp.inf, wide), axis=1)
    return loss, {
        "accuracy": mean_present((own > rival).astype(wide.dtype), counted),
        "num_rows": jnp.sum(counted.astype(wide.dtype)),
    }


def two_modality_loss(
    video_logits: Float[Array, "b k"],
    audio_logits: Float[Array, "b m"],
    *,
    video_targets: Int[Array, "b"],
    audio_targets: Int[Array, "b"],
    video_present: Bool[Array, "b"],
    audio_present: Bool[Array, "b"],
    video_class_weight: Float[Array, "k"] | None = None,
    audio_class_weight: Float[Array, "m"] | None = None,
) -> tuple[Scalar, dict[str, Scalar]]:
    """CE(video_logits, video_targets) + CE(audio_logits, audio_targets).

    Alwassel et al. 2020 (arXiv 1911.12667). The variants differ only in whose clusters are the
    targets: in XDC those of the other modality (video_targets = the audio features' clusters), in
    SDC its own, in CDC those of the concatenated features; MDC sums the XDC and the SDC loss over
    two heads for each encoder. There is no released training code; the equal weights are the
    formula as recalled.
    """
    video_loss, video = pseudo_label_loss(
        video_logits, video_targets, present=video_present, class_weight=video_class_weight
    )
    audio_loss, audio = pseudo_label_loss(
        audio_logits, audio_targets, present=audio_present, class_weight=audio_class_weight
    )
    metrics = {f"video_{name}": value for name, value in video.items()}
    metrics |= {f"audio_{name}": value for name, value in audio.items()}
    return video_loss + audio_loss, metrics


def balanced_class_weight(sizes: Int[Array, "k"]) -> Float[Array, "k"]:
    """Weights that make all clusters count alike, whatever their size; 1 on average over the rows.

    In the mean this equals DeepCluster's sampling of clips uniformly over the clusters (Caron et al.
    2018, section 3.3), which keeps one dominant cluster from being all there is to learn; whether
    XDC did so is not known. An empty cluster weighs 0.
    """
    filled = sizes > 0
    size = jnp.maximum(sizes, 1).astype(jnp.result_type(float))
    num_filled = jnp.maximum(jnp.sum(filled.astype(size.dtype)), 1.0)
    rows = jnp.sum(jnp.where(filled, size, 0.0))
    return jnp.where(filled, rows / (num_filled * size), 0.0)
