"""Where in a picture a sound comes from, and where not: hard negatives within the picture."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from avssl.losses.blocks import by_blocks
from avssl.losses.contrastive import Rows, Scalar, numbered, own_and_negatives
from avssl.losses.localization import position_cosines, sounding_map
from avssl.losses.rows import blank_absent, mean_present

# What the released code multiplies a row's own column by, 1 - 100, to take it from the negatives.
RELEASED_DIAGONAL = -99.0


def tri_map_loss(
    video: Float[Array, "b n d"],
    audio: Float[Array, "b d"],
    *,
    sounding_from: float | Scalar = 0.65,
    background_below: float | Scalar = 0.4,
    softness: float | Scalar = 0.03,
    temperature: float | Scalar = 0.07,
    background: bool = True,
    released_diagonal: bool = False,
    index: Int[Array, "b"],
    present: Bool[Array, "b"],
    blocks: int = 1,
) -> tuple[Scalar, dict[str, Scalar]]:
    """LVS's loss (H. Chen et al. 2021, arXiv 2104.02691; code: Localizing-Visual-Sounds-the-Hard-Way).

    With r_ij and b_i as in `region_cosines`, the loss of row i is the cross-entropy of r_ii against
    r_ij of the other sounds j and the picture's own background b_i, all divided by `temperature`
    (0.07). Other pictures are no negatives of a sound. `background_below` 0.4 leaves the positions
    between it and `sounding_from` 0.65 uncertain: the tri-map. Equal to `sounding_from`, every
    position counts on one side; `background=False` leaves b_i out. The released code ends with the
    logits: cross-entropy and its mean over the batch are as recalled, not verified.

    `released_diagonal`: the released code takes r_ii from the negatives by a factor of -99 instead
    of a mask. Where r_ii is negative that is a huge logit (a loss of 1400 times |r_ii|), so the
    default is the mask; where it is positive the two agree to rounding.

    blocks: the pictures are compared with all sounds in so many parts, one after the other, which
    changes nothing but the memory: the cosines of b * b * n / blocks positions. It divides b.

    Departures, which change nothing in a batch of distinct, complete clips: rows with `present`
    False leave as row and as negative, whatever they hold; rows of the same record (equal `index`)
    are never each other's negatives; without any present row the loss is 0.
    Metrics: how often the own sound is strictly nearer than every other, and than the background;
    the number of pairs.
    """
    video, audio = blank_absent(video, present), blank_absent(audio, present)

    def of_pictures(rows: Rows) -> tuple[Array, Array, Array]:
        """The loss of each, and 1 if its own sound is above all others, and above its background."""
        regions, quiet = region_cosines(
            rows["video"],
            audio,
            rows["audio"],
            sounding_from=sounding_from,
            background_below=background_below,
            softness=softness,
        )
        diagonal, negatives = own_and_negatives(rows, index, present)
        own = jnp.sum(jnp.where(diagonal, regions, 0.0), axis=1)
        columns, counted = [regions], [negatives | diagonal]
        if background:
            columns.append(quiet[:, None])
        if released_diagonal:
            columns.append(RELEASED_DIAGONAL * own[:, None])
        counted += [jnp.ones((len(own), 1), bool)] * (len(columns) - 1)
        # Relative to the own sound: a loss near 0 would else be the difference of large numbers.
        logits = jnp.concatenate(columns, axis=1) - own[:, None]
        logits = logits / jnp.asarray(temperature).astype(logits.dtype)
        loss = jax.nn.logsumexp(logits, axis=1, where=jnp.concatenate(counted, axis=1))
        rival = jnp.max(jnp.where(negatives, regions, -jnp.inf), axis=1)
        nearest, above = ((own > other).astype(regions.dtype) for other in (rival, quiet))
        return loss, nearest, above

    rows = {**numbered(index, present), "video": video, "audio": audio}
    losses, nearest, above = by_blocks(of_pictures, rows, blocks=blocks)
    return mean_present(losses, present), {
        "video_to_audio_top1": mean_present(nearest, present),
        "above_background": mean_present(above, present),
        "num_pairs": jnp.sum(present.astype(losses.dtype)),
    }


def region_cosines(
    video: Float[Array, "r n d"],
    audio: Float[Array, "b d"],
    own_audio: Float[Array, "r d"] | None = None,
    *,
    sounding_from: float | Scalar = 0.65,
    background_below: float | Scalar = 0.4,
    softness: float | Scalar = 0.03,
) -> tuple[Float[Array, "r b"], Float[Array, "r"]]:
    """Mean cosine over the region that sounds, of every picture with every sound; and over the rest.

    With c_ijn = cos(video_in, audio_j) and m = sigmoid, the first is r_ij, the mean over positions
    n of c_ijn under the weights m((c_ijn - sounding_from) / softness); the second b_i, that of the
    cosines o_in with the picture's own sound under 1 - m((o_in - background_below) / softness).
    softness 0.03. Gradients pass through the weights too, as released. own_audio: of pictures that
    are a part of the batch; else `audio`.
    """
    cosine = position_cosines(video, audio)
    own = sounding_map(video, audio if own_audio is None else own_audio)
    regions = mean_of_sounding(cosine, sounding_from=sounding_from, softness=softness)
    return regions, _mean_under_sigmoid(own, (background_below - own) / softness)


def mean_of_sounding(
    cosine: Float[Array, "*rows n"],
    *,
    sounding_from: float | Scalar = 0.65,
    softness: float | Scalar = 0.03,
) -> Float[Array, "*rows"]:
    """Mean cosine over the positions, weighted by how far each sounds: r_ij of `region_cosines`."""
    return _mean_under_sigmoid(cosine, (cosine - sounding_from) / softness)


def _mean_under_sigmoid(
    values: Float[Array, "*rows n"], scores: Float[Array, "*rows n"]
) -> Float[Array, "*rows"]:
    """The mean under weights sigmoid(scores), normalised in the log domain.

    At the start of training no cosine is near `sounding_from`: the weights are 1e-9 and less, and
    with a smaller softness their sum would be 0.
    """
    weights = jax.nn.softmax(jax.nn.log_sigmoid(scores), axis=-1)
    return jnp.sum(weights * values, axis=-1)
