"""Minimising disagreement: two modalities, each the other's teacher (de Sa 1993).

V. R. de Sa, "Learning Classification with Unlabeled Data", NIPS 6. There is no code; the form of the
updates is as recalled and not verified against the text.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from avssl.losses.contrastive import Scalar
from avssl.losses.precision import widen
from avssl.losses.rows import blank_absent, mean_present

# A nearest-prototype classifier of one modality: "prototypes" [p, d] and their "labels" [p].
Codebook = dict[str, Array]


def two_nearest(
    example: Float[Array, "d"], prototypes: Float[Array, "p d"]
) -> tuple[Float[Array, "2"], Int[Array, "2"]]:
    """Squared distances and numbers of the two prototypes nearest to an example; of equals the first."""
    square = jnp.sum((example[None] - prototypes) ** 2, axis=1)
    nearest, number = lax.top_k(-square, 2)
    return -nearest, number


def minimise_disagreement(
    video_codebook: Codebook,
    audio_codebook: Codebook,
    video: Float[Array, "n d"],
    audio: Float[Array, "n e"],
    *,
    step_size: Float[Array, "n"],
    window: Float[Array, "n"],
    present: Bool[Array, "n"] | None = None,
    normalised: bool = True,
) -> tuple[Codebook, Codebook, dict[str, Array]]:
    """One pass over the pairs, in order, one at a time (stage 3).

    For modality m, with i, j the prototypes nearest to x and h the class that the other modality
    gives its own half of the pair: if exactly one of i, j has label h and x is within `window` of
    their midplane, | |x-w_i|^2 - |x-w_j|^2 | / (2 |w_i-w_j|) < window, the one labelled h moves by
    step_size * (x-w) / |x-w| and the other by minus that. Both modalities use the classes from
    before the update. Labels never change. `step_size` and `window` are given for every pair: let
    them fall to 0. normalised False moves by step_size * (x-w), as LVQ2.1 does.

    A prototype on the very example does not move, and two prototypes at the same place have no
    midplane, hence no window. Pairs that are not `present` change nothing and may hold anything.
    The trace tells for each pair {video, audio}_class before the update, {video, audio}_nearest, the
    numbers of the two nearest prototypes, and {video, audio}_moved.
    """
    for codebook in (video_codebook, audio_codebook):
        if len(codebook["prototypes"]) < 2:
            raise ValueError(
                "minimising disagreement needs at least 2 prototypes for each modality"
            )
    if present is None:
        present = jnp.ones(video.shape[0], bool)
    video, audio = (blank_absent(x, present) for x in (video, audio))

    def step(prototypes: tuple[Array, Array], pair: tuple):
        examples, rate, reach, here = pair
        labels = video_codebook["labels"], audio_codebook["labels"]
        met = [two_nearest(*both) for both in zip(examples, prototypes, strict=True)]
        classes = [label[number[0]] for label, (_, number) in zip(labels, met, strict=True)]
        moved = []
        for side in (0, 1):
            square, number = met[side]
            agrees = labels[side][number] == classes[1 - side]
            update = _attract_and_repel(
                prototypes[side][number], examples[side], square, agrees, reach, normalised
            )
            new = prototypes[side].at[number].add(jnp.where(here, rate, 0.0) * update[0])
            moved.append((new, update[1] & here))
        trace = {
            "video_class": classes[0],
            "audio_class": classes[1],
            "video_nearest": met[0][1],
            "audio_nearest": met[1][1],
            "video_moved": moved[0][1],
            "audio_moved": moved[1][1],
        }
        return (moved[0][0], moved[1][0]), trace

    start = widen(video_codebook["prototypes"]), widen(audio_codebook["prototypes"])
    rates = step_size.astype(video.dtype), window.astype(video.dtype)
    ends, trace = lax.scan(step, start, ((video, audio), *rates, present))
    return (
        {"prototypes": ends[0], "labels": video_codebook["labels"]},
        {"prototypes": ends[1], "labels": audio_codebook["labels"]},
        trace,
    )


def _attract_and_repel(
    nearest: Float[Array, "2 d"],
    example: Float[Array, "d"],
    square: Float[Array, "2"],
    agrees: Bool[Array, "2"],
    window: Scalar,
    normalised: bool,
) -> tuple[Float[Array, "2 d"], Bool[Array, ""]]:
    """The moves of the two nearest prototypes for a step size of 1, and whether there are any."""
    between = jnp.sqrt(jnp.sum((nearest[0] - nearest[1]) ** 2))
    inside = jnp.abs(square[0] - square[1]) < 2.0 * window * between
    moves = inside & (agrees[0] != agrees[1])
    direction = example[None] - nearest
    if normalised:
        length = jnp.sqrt(square)
        direction = direction / jnp.where(length > 0.0, length, 1.0)[:, None]
    sign = jnp.where(agrees, 1.0, -1.0).astype(direction.dtype)[:, None]
    return jnp.where(moves, sign * direction, 0.0), moves


def classify(examples: Float[Array, "n d"], codebook: Codebook) -> Int[Array, "n"]:
    """The label of the prototype nearest to each example."""
    nearest = jax.vmap(lambda example: two_nearest(example, widen(codebook["prototypes"]))[1][0])
    return codebook["labels"][nearest(widen(examples))]


def disagreement_rate(
    video_class: Int[Array, "n"], audio_class: Int[Array, "n"], *, present: Bool[Array, "n"]
) -> Scalar:
    """The share of present pairs whose modalities name different classes; 0 without any pair."""
    differ = video_class != audio_class
    return mean_present(differ.astype(jnp.result_type(float)), present)


def competitive_labels(
    key: Array,
    video_winner: Int[Array, "n"],
    audio_winner: Int[Array, "n"],
    *,
    num_prototypes: tuple[int, int],
    num_classes: int,
    present: Bool[Array, "n"] | None = None,
    step_size: float | Scalar = 0.05,
    num_epochs: int = 20,
    conscience: float = 2.0,
) -> tuple[Int[Array, "p"], Int[Array, "q"]]:
    """First labels of the prototypes of both modalities, from which of them win together (stage 2).

    An output layer of `num_classes` units sees, for each pair, one-of-p and one-of-q activations of
    the winning prototypes, each 1/2. The unit with the largest weighted sum wins and its weights
    move to the pattern by `step_size` (competitive learning, Rumelhart & Zipser 1985; each unit's
    weights sum to 1). A prototype's label is the unit with the largest weight to it.

    Departures: a unit's sum is raised by how much more seldom than 1 / num_classes it won lately
    (DeSieno 1988), or a few units would take every pattern; `conscience` is the factor, in units of
    an evenly shared weight, 0 switches it off. `step_size`, falling to 0, the 20 epochs and the
    factor are choices (tried on 3 to 10 classes of 3 to 30 prototypes); the paper's are not known.
    """
    if present is None:
        present = jnp.ones(video_winner.shape, bool)
    num_video, num_audio = num_prototypes
    weights = 0.5 + jax.random.uniform(key, (num_classes, num_video + num_audio))
    weights = weights / jnp.sum(weights, axis=1, keepdims=True)
    share = 1.0 / num_classes
    # A unit that has learnt its class holds a weight of about this for each prototype of it.
    even = num_classes / (num_video + num_audio)

    def step(state: tuple[Array, Array], pair: tuple):
        weights, frequency = state
        video_number, audio_number, here, rate = pair
        pattern = jnp.zeros(num_video + num_audio, weights.dtype)
        pattern = pattern.at[video_number].add(0.5).at[num_video + audio_number].add(0.5)
        score = weights @ pattern + conscience * even * (share - frequency)
        won = jax.nn.one_hot(jnp.argmax(score), num_classes, dtype=weights.dtype)
        rate = jnp.where(here, rate, 0.0)
        weights = weights + rate * won[:, None] * (pattern[None] - weights)
        return (weights, frequency + rate * (won - frequency)), None

    num_pairs = video_winner.shape[0]
    turns = jnp.arange(num_epochs * num_pairs)
    rates = step_size * (1.0 - turns.astype(weights.dtype) / max(len(turns), 1))
    order = turns % num_pairs
    pairs = video_winner[order], audio_winner[order], present[order], rates
    start = weights, jnp.full(num_classes, share, weights.dtype)
    (weights, _), _ = lax.scan(step, start, pairs)
    label = jnp.argmax(weights, axis=0).astype(jnp.int32)
    return label[:num_video], label[num_video:]


def soft_class_logits(
    examples: Float[Array, "b d"],
    prototypes: Float[Array, "c p d"],
    *,
    temperature: float | Scalar = 1.0,
) -> Float[Array, "b c"]:
    """A nearest-prototype classifier with a gradient; every class has its own p prototypes.

    softmax of the result = share of each class in softmax_over_prototypes(-|x-w|^2 / temperature).
    """
    wide, points = widen(examples), widen(prototypes)
    product = jnp.einsum("bd,cpd->bcp", wide, points, precision=lax.Precision.HIGHEST)
    # |x|^2 is common to all prototypes: the softmax does not see it.
    nearness = 2.0 * product - jnp.sum(points**2, axis=-1)[None]
    heat = jnp.asarray(temperature).astype(nearness.dtype)
    return jax.nn.logsumexp(nearness / heat, axis=-1)


def soft_disagreement(
    video_logits: Float[Array, "b c"],
    audio_logits: Float[Array, "b c"],
    *,
    present: Bool[Array, "b"],
    sharpness: float = 4.0,
    marginal_weight: float = 1.0,
) -> tuple[Scalar, dict[str, Scalar]]:
    """De Sa's objective in a form for gradients: each modality learns the other's soft classes.

    loss = (CE(target_audio, video) + CE(target_video, audio)) / 2
           + marginal_weight * (log c - (H(mean video) + H(mean audio)) / 2),
    where target = stop_gradient(softmax(sharpness * logits)): with sharpness 1 undecided rows would
    be a rest point, and without bound it is the hard label of 1993. The entropy of the mean
    assignment over the batch keeps all rows from one class, which also agrees. Both ideas, and
    sharpness 4 (temperature 0.25), are those of PAWS (Assran et al. 2021, arXiv 2104.13963, as
    recalled); the paper of 1993 has neither. Absent rows leave; without any, the loss is 0.
    """

    def sides(logits: Float[Array, "b c"]) -> tuple[Array, Array, Array]:
        logits = blank_absent(logits, present)
        target = lax.stop_gradient(jax.nn.softmax(sharpness * logits))
        return logits, jax.nn.log_softmax(logits), target

    def marginal_entropy(log_share: Float[Array, "b c"]) -> Scalar:
        share = jax.vmap(mean_present, in_axes=(1, None))(jnp.exp(log_share), present)
        used = share > 0.0
        return -jnp.sum(jnp.where(used, share * jnp.log(jnp.where(used, share, 1.0)), 0.0))

    video, log_video, target_video = sides(video_logits)
    audio, log_audio, target_audio = sides(audio_logits)
    crossed = jnp.sum(target_audio * log_video + target_video * log_audio, axis=1)
    entropies = marginal_entropy(log_video), marginal_entropy(log_audio)
    widest = jnp.log(jnp.asarray(video.shape[1], video.dtype))
    collapse = jnp.where(jnp.any(present), widest - 0.5 * (entropies[0] + entropies[1]), 0.0)
    classes = jnp.argmax(video, axis=1), jnp.argmax(audio, axis=1)
    metrics = {
        "disagreement": disagreement_rate(*classes, present=present),
        "video_marginal_entropy": entropies[0],
        "audio_marginal_entropy": entropies[1],
        "num_pairs": jnp.sum(present.astype(video.dtype)),
    }
    return -0.5 * mean_present(crossed, present) + marginal_weight * collapse, metrics
