"""Memory banks [num_rows, dim]: one row of unit length for every record of a data set.

Pure functions of AVID and CMA (Morgado et al. 2021, arXiv 2004.12943; code: AVID-CMA,
`criterions/avid.py` and `avid_cma.py`). They run under jit with the bank whole or split over
devices: a split bank is never gathered whole. Indices must lie within the bank.
"""

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int, Key

from avssl.losses.contrastive import unit_rows
from avssl.losses.precision import widen
from avssl.losses.rows import blank_absent

AGREEMENTS = ("consensus", "union", "video", "audio")
# Columns whose maximum is compared first in a search: about sqrt(2 million rows / 32 positives).
BLOCK = 256


def initial_bank(
    key: Key[Array, ""], num_rows: int, dim: int, dtype: DTypeLike = jnp.float32
) -> Float[Array, "n d"]:
    """Random directions: Gaussian rows, normalised."""
    return unit_rows(jax.random.normal(key, (num_rows, dim), dtype)).astype(dtype)


def update_bank(
    bank: Float[Array, "n d"],
    embedding: Float[Array, "b d"],
    *,
    index: Int[Array, "b"],
    momentum: float = 0.5,
    present: Bool[Array, "b"],
) -> Float[Array, "n d"]:
    """The bank after a batch: row <- normalise(momentum * row + (1 - momentum) * unit embedding).

    Official: momentum 0.5. Of several rows of one record the last present one by position counts
    (official code leaves the order undefined); rows with `present` False update nothing. A sum of
    exactly 0 leaves its row as it was. One scatter of the batch's rows: in place where the bank is
    donated.
    """
    num_rows, num_examples = bank.shape[0], index.shape[0]
    position = jnp.arange(num_examples, dtype=index.dtype)
    later = (index[:, None] == index[None, :]) & (position[:, None] < position[None, :])
    last = present & ~jnp.any(later & present[None, :], axis=1)
    rows = unit_rows(jax.lax.stop_gradient(blank_absent(embedding, present)))
    stored = bank_rows(bank, index)
    updated = unit_rows(momentum * stored.astype(rows.dtype) + (1.0 - momentum) * rows)
    vanished = jnp.all(updated == 0.0, axis=1)
    updated = jnp.where(vanished[:, None], stored, updated.astype(bank.dtype))
    # Whoever does not write aims beyond the end, each at a place of its own: no index comes twice.
    target = jnp.where(last, index, num_rows + position)
    return bank.at[target].set(updated, mode="drop", unique_indices=True)


def bank_rows(bank: Float[Array, "n d"], index: Int[Array, "*shape"]) -> Float[Array, "*shape d"]:
    """The rows of those indices, without gradient."""
    return jax.lax.stop_gradient(bank.at[index].get(mode="clip"))


def bank_cosines(query: Float[Array, "b d"], rows: Float[Array, "b k d"]) -> Float[Array, "b k"]:
    """Cosine of each query, of any length, with its own rows of a bank."""
    query = unit_rows(query)
    return jnp.einsum(
        "bd,bkd->bk", query, rows.astype(query.dtype), precision=jax.lax.Precision.HIGHEST
    )


def draw_negatives(
    keys: Key[Array, "b"],
    *,
    index: Int[Array, "b"],
    positives: Int[Array, "b p"] | None = None,
    num_rows: int,
    num_negatives: int,
    skip_self: bool = True,
) -> Int[Array, "b k"]:
    """Uniform draws, with replacement, from the bank's rows that are not taken.

    Taken are the row's own record and its positives (ascending), where it has any. Each row's draws
    are a function of its own key. `skip_self=False` is the released CMA, whose draws avoid the
    positives but may hit the record itself, which its own loss calls a positive; official AVID
    skips it.
    """
    taken = jnp.zeros((index.shape[0], 0), jnp.int32)
    if positives is not None:
        taken = positives.astype(jnp.int32)
    if skip_self:
        taken = jnp.sort(jnp.concatenate([taken, index[:, None].astype(jnp.int32)], 1), axis=1)
    if num_rows <= taken.shape[1]:
        raise ValueError(
            f"a bank of {num_rows} rows has no negatives beside {taken.shape[1]} taken rows"
        )
    num_free = num_rows - jnp.sum(_first_of_equal(taken), axis=1, dtype=jnp.int32)

    def draw(key: Key[Array, ""], num_free: Int[Array, ""]) -> Int[Array, "k"]:
        return jax.random.randint(key, (num_negatives,), 0, num_free, dtype=jnp.int32)

    return skip_taken(jax.vmap(draw)(keys, num_free), taken)


def skip_taken(draws: Int[Array, "b k"], taken: Int[Array, "b p"]) -> Int[Array, "b k"]:
    """Draws among the free places as indices of the bank; `taken` ascends in each row.

    As official CMA: draw + number of j with draw >= taken_j - j. An index that is taken twice
    counts once, also in the j.
    """
    first = _first_of_equal(taken)
    num_before = jnp.cumsum(first, axis=1, dtype=taken.dtype) - 1
    threshold = (taken - num_before).astype(draws.dtype)
    passed = (draws[:, :, None] >= threshold[:, None, :]) & first[:, None, :]
    return draws + jnp.sum(passed, axis=2, dtype=draws.dtype)


def _first_of_equal(ascending: Int[Array, "b p"]) -> Bool[Array, "b p"]:
    """True where a value differs from the one before it."""
    differs = ascending[:, 1:] != ascending[:, :-1]
    return jnp.concatenate([jnp.ones_like(ascending[:, :1], bool), differs], axis=1)


def agreement_positives(
    video_bank: Float[Array, "n d"],
    audio_bank: Float[Array, "n d"],
    rows: Int[Array, "q"],
    *,
    num_positives: int = 32,
    agreement: str = "consensus",
    drop_nearest: bool = False,
) -> Int[Array, "q p"]:
    """CMA's positives of some records: those most similar in both modalities, ascending by index.

    Similarity: min(cos_video, cos_audio) for "consensus" (the paper's), max for "union", or one
    modality's alone. The record itself is left out by its index; among equals the lower index wins.
    Official code drops the nearest row instead, which it takes for the record (`drop_nearest`): the
    record stays its own positive where another row equals its own and comes first.

    The whole bank is compared with the given rows, so memory grows with len(rows) * num_rows: give
    the records chunk by chunk (a row may come twice, to fill the last chunk). On several devices
    give whole banks and split the rows; split banks work too, but may gather the similarities.
    """
    num_rows = video_bank.shape[0]
    if agreement not in AGREEMENTS:
        raise ValueError(f"agreement must be one of {', '.join(AGREEMENTS)}, not '{agreement}'")
    if num_positives >= num_rows:
        raise ValueError(f"a bank of {num_rows} rows has no {num_positives} positives for each row")
    similarity = _agreement(video_bank, audio_bank, rows, agreement)
    if drop_nearest:
        found = _nearest(similarity, num_positives + 1)[:, 1:]
    else:
        own = rows[:, None] == jnp.arange(num_rows, dtype=rows.dtype)[None, :]
        found = _nearest(jnp.where(own, -jnp.inf, similarity), num_positives)
    return jnp.sort(found, axis=1)


def _nearest(similarity: Float[Array, "q n"], count: int) -> Int[Array, "q p"]:
    """Columns of the largest values of each row, largest first; among equals the lower one.

    As `top_k`, which XLA does not split over devices: it would gather all similarities. Whatever is
    among the `count` largest lies in one of the `count` blocks with the largest maxima, so only the
    maxima and those blocks are searched, and only they travel.
    """
    num_rows, num_columns = similarity.shape
    padded = jnp.pad(similarity, ((0, 0), (0, -num_columns % BLOCK)), constant_values=-jnp.inf)
    blocks = padded.reshape(num_rows, -1, BLOCK)
    chosen = jax.lax.top_k(jnp.max(blocks, axis=2), min(count, blocks.shape[1]))[1]
    # Blocks in ascending order: a lower place among the candidates is then a lower column.
    chosen = jnp.sort(chosen.astype(jnp.int32), axis=1)
    candidates = jnp.take_along_axis(blocks, chosen[:, :, None], axis=1)
    place = jax.lax.top_k(candidates.reshape(num_rows, -1), count)[1].astype(jnp.int32)
    return jnp.take_along_axis(chosen, place // BLOCK, axis=1) * BLOCK + place % BLOCK


def _agreement(
    video_bank: Float[Array, "n d"],
    audio_bank: Float[Array, "n d"],
    rows: Int[Array, "q"],
    agreement: str,
) -> Float[Array, "q n"]:
    def cosine(bank: Float[Array, "n d"]) -> Float[Array, "q n"]:
        # Rounded products (TF32, bf16) would change which rows are nearest.
        return jnp.einsum(
            "qd,nd->qn",
            bank_rows(bank, rows),
            bank,
            precision=jax.lax.Precision.HIGHEST,
            preferred_element_type=widen(bank[:1]).dtype,
        )

    if agreement == "video":
        return cosine(video_bank)
    if agreement == "audio":
        return cosine(audio_bank)
    combine = jnp.minimum if agreement == "consensus" else jnp.maximum
    return combine(cosine(video_bank), cosine(audio_bank))
