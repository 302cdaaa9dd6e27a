"""Distillation of inner layers: the student's map is to say what the teacher's map says.

Maps are [batch, *positions, channels], of a picture, a spectrogram or a video. Where they differ in
size the larger is pooled to the smaller: `pool_to_smaller`. Rows with `present` False leave,
whatever they hold; without any row every loss is 0. Several stages are several calls, summed.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from avssl.losses.contrastive import Scalar, unit_rows
from avssl.losses.distillation import learner_and_constant
from avssl.losses.precision import widen
from avssl.losses.rows import blank_absent, mean_present


def hint_loss(
    student: Float[Array, "b *rest"], teacher: Float[Array, "b *rest"], *, present: Bool[Array, "b"]
) -> Scalar:
    """Mean squared error over all elements of maps or vectors: FitNets, and supervision transfer.

    FitNets (Romero et al. 2015, arXiv 1412.6550, eq. 3): the student's map has passed a regressor,
    `avssl.models.regressors.HintRegressor`. Supervision transfer across modalities (Gupta, Hoffman
    & Malik 2016, arXiv 1507.00448) is the same between paired modalities, from the teacher's
    last convolution. Departure, as released (RepDistiller, `FitNet.py`, weight 100): the mean over
    the elements of a row where the papers have the sum (times 1/2 in FitNets).
    """
    student, teacher = learner_and_constant(student, teacher, present)
    square = (student - teacher) ** 2
    return mean_present(_row_means(square), present)


def attention_loss(
    student: Float[Array, "b *positions c"],
    teacher: Float[Array, "b *others d"],
    *,
    present: Bool[Array, "b"],
) -> Scalar:
    """Activation-based attention transfer (Zagoruyko & Komodakis 2017, arXiv 1612.03928, eq. 2).

    mean over rows and positions of (a_s - a_t)^2, a = the mean over channels of the squared
    activations (p = 2), as a vector of unit length. Departure, as released by the authors and in
    RepDistiller (`AT.py`, summed over all middle stages, weight 1000): the mean of squares where
    eq. 2 has the norm, which has no gradient at 0. A map of zeros has attention 0.
    """
    student, teacher = pool_to_smaller(*learner_and_constant(student, teacher, present))
    apart = attention(student, 2, present) - attention(teacher, 2, present)
    return mean_present(_row_means(apart**2), present)


def attention(
    features: Float[Array, "b *positions c"], power: int, present: Bool[Array, "b"]
) -> Float[Array, "b n"]:
    """The mean over channels of |features|^power, over all positions scaled to length 1.

    Zeros stay zeros, as do rows that are not present.
    """
    energy = jnp.mean(jnp.abs(blank_absent(features, present)) ** power, axis=-1)
    return unit_rows(energy.reshape(len(energy), -1))


def variational_loss(
    predicted: Float[Array, "b *positions d"],
    teacher: Float[Array, "b *positions d"],
    raw_variance: Float[Array, "d"],
    *,
    present: Bool[Array, "b"],
    least_variance: float = 1e-5,
) -> Scalar:
    """Variational information distillation (Ahn et al. 2019, arXiv 1904.05835).

    mean over all elements of ((mu - t)^2 / v + log v) / 2, the negative log-likelihood without its
    constant, which may be negative. v = log(1 + exp(`raw_variance`)) + 1e-5, one for each channel
    of the teacher; `predicted` (mu) and `raw_variance` come from
    `avssl.models.regressors.VariationalRegressor`. Pool the student's map before its regressor, as
    released. Code: RepDistiller, `VID.py`, weight 1, all middle stages.
    """
    predicted, teacher = learner_and_constant(predicted, teacher, present)
    variance = jax.nn.softplus(raw_variance.astype(predicted.dtype)) + least_variance
    variance = variance.reshape((1,) * (predicted.ndim - 1) + (-1,))
    each = 0.5 * ((predicted - teacher) ** 2 / variance + jnp.log(variance))
    return mean_present(_row_means(each), present)


def selectivity_loss(
    student: Float[Array, "b *positions c"],
    teacher: Float[Array, "b *others d"],
    *,
    present: Bool[Array, "b"],
) -> Scalar:
    """Neuron selectivity transfer (Huang & Wang 2017, arXiv 1707.01219).

    The squared maximum mean discrepancy between the channels of the two maps, row by row: mean
    k(t, t) + mean k(s, s) - 2 mean k(s, t) over all pairs of channels, each scaled to unit length
    over the positions, with k(x, y) = (x . y)^2, the paper's polynomial kernel with d = 2, c = 0.
    Code: RepDistiller, `NST.py`, weight 50. A channel of zeros stays zero.
    """
    student, teacher = pool_to_smaller(*learner_and_constant(student, teacher, present))
    student, teacher = _unit_channels(student), _unit_channels(teacher)

    def kernel(first: Float[Array, "b c p"], second: Float[Array, "b d p"]) -> Float[Array, "b"]:
        product = jnp.einsum("bcp,bdp->bcd", first, second, precision=jax.lax.Precision.HIGHEST)
        return _row_means(product**2)

    each = kernel(teacher, teacher) + kernel(student, student) - 2.0 * kernel(student, teacher)
    return mean_present(each, present)


def pool_to_smaller(
    student: Float[Array, "b *positions c"], teacher: Float[Array, "b *others d"]
) -> tuple[Float[Array, "b *pooled c"], Float[Array, "b *pooled d"]]:
    """Both maps on the smaller grid of the two, along each axis of positions, by adaptive averages.

    Bins as in PyTorch: bin i of m takes the places from floor(i n / m) to ceil((i + 1) n / m).
    Departure: the released losses compare the heights alone and make the map square.
    """
    if student.ndim != teacher.ndim:
        raise ValueError(
            f"maps have as many axes of positions: the student's is {student.shape}, the "
            f"teacher's {teacher.shape}"
        )
    student, teacher = widen(student), widen(teacher)
    for axis in range(1, student.ndim - 1):
        size = min(student.shape[axis], teacher.shape[axis])
        student, teacher = (_pool_axis(x, axis, size) for x in (student, teacher))
    return student, teacher


def _pool_axis(features: Float[Array, "..."], axis: int, size: int) -> Float[Array, "..."]:
    full = features.shape[axis]
    if size == full:
        return features
    place = jnp.arange(full)[None]
    starts = jnp.array([i * full // size for i in range(size)])[:, None]
    ends = jnp.array([-(-(i + 1) * full // size) for i in range(size)])[:, None]
    inside = ((place >= starts) & (place < ends)).astype(features.dtype)
    weights = inside / jnp.sum(inside, axis=1, keepdims=True)
    pooled = jnp.tensordot(
        features, weights, axes=((axis,), (1,)), precision=jax.lax.Precision.HIGHEST
    )
    return jnp.moveaxis(pooled, -1, axis)


def _unit_channels(features: Float[Array, "b *positions c"]) -> Float[Array, "b c p"]:
    channels_first = jnp.moveaxis(features, -1, 1)
    return unit_rows(channels_first.reshape(*channels_first.shape[:2], -1))


def _row_means(values: Float[Array, "b *rest"]) -> Float[Array, "b"]:
    return jnp.mean(values, axis=tuple(range(1, values.ndim)))
