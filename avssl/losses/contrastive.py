"""Contrastive losses between two modalities, over the global batch."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from avssl.losses.blocks import by_blocks
from avssl.losses.precision import widen
from avssl.losses.rows import blank_absent, mean_present

Scalar = Float[Array, ""]
# Arrays by name, with as many rows each.
Rows = dict[str, Array]


def unit_rows(embedding: Float[Array, "*rows d"]) -> Float[Array, "*rows d"]:
    """Rows of length 1, in float32 or wider. A row of zeros stays zero, with gradient zero."""
    wide = widen(embedding)
    square = jnp.sum(wide**2, axis=-1, keepdims=True)
    # The root of exactly 0 has no gradient, hence the `where` inside it as well.
    return jnp.where(square > 0.0, wide / jnp.sqrt(jnp.where(square > 0.0, square, 1.0)), 0.0)


def root(square: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The root, of exactly 0 with gradient 0, which has none: where two vectors are equal."""
    apart = square > 0.0
    return jnp.where(apart, jnp.sqrt(jnp.where(apart, square, 1.0)), 0.0)


def cosines(first: Float[Array, "b d"], second: Float[Array, "n d"]) -> Float[Array, "b n"]:
    """Cosine of every row of `first` with every row of `second`, in float32 or wider."""
    first, second = unit_rows(first), unit_rows(second)
    return jnp.einsum(
        "id,jd->ij",
        first,
        second,
        precision=jax.lax.Precision.HIGHEST,
        preferred_element_type=first.dtype,
    )


def negative_mask(index: Int[Array, "b"], present: Bool[Array, "b"]) -> Bool[Array, "b b"]:
    """True where column j may be a negative of row i: both are present and of different records."""
    different = index[:, None] != index[None, :]
    return different & present[:, None] & present[None, :]


def masked_log_softmax(
    logits: Float[Array, "b n"], counted: Bool[Array, "b n"]
) -> Float[Array, "b n"]:
    """The logarithm of the softmax over the counted columns, of which each row needs one; else 0."""
    total = jax.nn.logsumexp(logits, axis=1, where=counted, keepdims=True)
    return jnp.where(counted, logits - total, 0.0)


def symmetric_info_nce(
    video: Float[Array, "b d"],
    audio: Float[Array, "b d"],
    *,
    temperature: float | Scalar,
    index: Int[Array, "b"],
    present: Bool[Array, "b"],
    blocks: int = 1,
) -> tuple[Scalar, dict[str, Scalar]]:
    """Symmetric InfoNCE between the modalities (van den Oord et al. 2018, eq. 4, both ways).

    With s_ij = cos(video_i, audio_j) / temperature,
    loss = mean_i of (CE(s_i., i) + CE(s_.i, i)) / 2. Rows may have any length.

    blocks: see `contrast_in_blocks`. Masks, metrics and departures: see `contrast_pairs`.
    """
    # Absent rows may hold anything, NaN too: they must not reach the product, nor its gradient.
    video, audio = blank_absent(video, present), blank_absent(audio, present)

    def logits(video: Array, audio: Array) -> Array:
        similarity = cosines(video, audio)
        return similarity / jnp.asarray(temperature).astype(similarity.dtype)

    return contrast_in_blocks(video, audio, logits, index=index, present=present, blocks=blocks)


def contrast_in_blocks(
    video: Float[Array, "b *v"],
    audio: Float[Array, "b *a"],
    logits: Callable[[Array, Array], Array],
    *,
    index: Int[Array, "b"],
    present: Bool[Array, "b"],
    margin: float = 0.0,
    blocks: int = 1,
) -> tuple[Scalar, dict[str, Scalar]]:
    """`contrast_pairs` of logits(video, audio), which takes any rows of each.

    blocks: the rows are compared with all others in so many parts, one after the other, which
    changes nothing but the memory: b * b / blocks numbers in place of b * b. It divides b. With more
    than one, all logits are computed twice, once by videos and once by audios.
    """
    if blocks == 1:
        return contrast_pairs(logits(video, audio), index=index, present=present, margin=margin)

    def search_in(compare: Callable[[Array], Array]) -> Callable[[Rows], tuple[Array, Array]]:
        def search(rows: Rows) -> tuple[Array, Array]:
            return find_partner(
                compare(rows["query"]), *own_and_negatives(rows, index, present), margin=margin
            )

        return search

    rows = numbered(index, present)
    to_audio = by_blocks(
        search_in(lambda some: logits(some, audio)), {**rows, "query": video}, blocks=blocks
    )
    to_video = by_blocks(
        search_in(lambda some: logits(video, some).T), {**rows, "query": audio}, blocks=blocks
    )
    return mean_of_both(to_audio, to_video, present)


def numbered(index: Int[Array, "b"], present: Bool[Array, "b"]) -> Rows:
    """What `own_and_negatives` asks of rows, for a batch as a whole."""
    return {"place": jnp.arange(len(index)), "index": index, "present": present}


def is_itself(place: Int[Array, "r"], num_columns: int) -> Bool[Array, "r b"]:
    """True in the column of each row's own place."""
    return place[:, None] == jnp.arange(num_columns)[None, :]


def own_and_negatives(
    rows: Rows, index: Int[Array, "n"], present: Bool[Array, "n"]
) -> tuple[Bool[Array, "r n"], Bool[Array, "r n"]]:
    """Of some rows among n columns, the first of which are the batch: the own column, and negatives."""
    different = rows["index"][:, None] != index[None, :]
    both = rows["present"][:, None] & present[None, :]
    return is_itself(rows["place"], len(index)), different & both


def contrast_pairs(
    logits: Float[Array, "b b"],
    *,
    index: Int[Array, "b"],
    present: Bool[Array, "b"],
    margin: float = 0.0,
) -> tuple[Scalar, dict[str, Scalar]]:
    """mean_i of (CE(logits_i., i) + CE(logits_.i, i)) / 2: row i is a video, column j an audio.

    margin: taken from the own logit in the cross-entropies, not in the metrics.

    Departures, which change nothing in a batch of distinct, complete clips: rows with `present`
    False (one of their modalities is missing; their logits must be finite) leave as row and as
    negative; rows of the same record (equal `index`) are never each other's negatives; without any
    present row the loss is 0.
    Metrics: how often the own partner is strictly nearer than every negative, each way, and the
    number of pairs.
    """
    negatives, own = negative_mask(index, present), jnp.eye(len(index), dtype=bool)
    return mean_of_both(
        find_partner(logits, own, negatives, margin=margin),
        find_partner(logits.T, own, negatives, margin=margin),
        present,
    )


def find_partner(
    logits: Float[Array, "b n"],
    own: Bool[Array, "b n"],
    negatives: Bool[Array, "b n"],
    *,
    margin: float = 0.0,
) -> tuple[Float[Array, "b"], Float[Array, "b"]]:
    """Of each row: the cross-entropy of its `own` column among the negatives, and 1 if it is first.

    The own column always counts, so that an absent row has a finite (and unused) loss.
    """
    right = jnp.sum(jnp.where(own, logits, 0.0), axis=1)
    harder = jnp.where(own, logits - margin, logits) if margin else logits
    loss = jax.nn.logsumexp(harder, axis=1, where=negatives | own) - (right - margin)
    rival = jnp.max(jnp.where(negatives, logits, -jnp.inf), axis=1)
    return loss, (right > rival).astype(logits.dtype)


def mean_of_both(
    to_audio: tuple[Float[Array, "b"], Float[Array, "b"]],
    to_video: tuple[Float[Array, "b"], Float[Array, "b"]],
    present: Bool[Array, "b"],
) -> tuple[Scalar, dict[str, Scalar]]:
    """What `find_partner` says of each row in both directions, as the loss and the metrics."""
    (audio_loss, audio_first), (video_loss, video_first) = to_audio, to_video
    loss = 0.5 * (mean_present(audio_loss, present) + mean_present(video_loss, present))
    return loss, {
        "video_to_audio_top1": mean_present(audio_first, present),
        "audio_to_video_top1": mean_present(video_first, present),
        "num_pairs": jnp.sum(present.astype(loss.dtype)),
    }
