"""SpecAugment: stripes of a spectrogram, in time and in frequency, that a network has to do without."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from avssl.errors import UsageError
from avssl.signal.spectrum import widened

# (how many stripes, the widest as a share of the axis), or nothing.
Stripes = tuple[int | float, ...]
# Told apart from the purposes of `augment.py`, which draws by the same keys.
TIME, FREQUENCY = 5, 6


def mask_stripes(
    spectrogram: Float[Array, "b t f c"],
    keys: Key[Array, "b"],
    *,
    time_masks: Stripes = (),
    frequency_masks: Stripes = (),
) -> Float[Array, "b t f c"]:
    """So many stripes of each kind are replaced by the mean of the clip, of each channel.

    Park et al. 2019 ("SpecAugment", Interspeech, arXiv 1904.08779), without its warping of time: the width of a
    stripe is uniform from 0 to the widest, then its place among all where it fits; stripes may overlap. PANNs
    has two of up to 64 of 1001 frames and two of up to 8 of 64 bands, AST one of 192 of 1024 and one of 48 of
    128. The paper fills with 0, which is the mean of its spectrograms; those here need not be normalised.
    """
    if not (time_masks or frequency_masks):
        return spectrogram
    if frequency_masks and spectrogram.shape[2] == 1:
        raise UsageError(
            "frequency_masks of a view need bands to mask, and the front end of its encoder gives one: leave "
            "them out"
        )
    _, num_frames, num_bands, _ = spectrogram.shape
    hidden = jnp.zeros((len(spectrogram), num_frames, num_bands), bool)
    if time_masks:
        hidden |= _stripes(keys, TIME, time_masks, num_frames)[:, :, None]
    if frequency_masks:
        hidden |= _stripes(keys, FREQUENCY, frequency_masks, num_bands)[:, None, :]
    wide = spectrogram.astype(widened(spectrogram.dtype))
    mean = jnp.mean(wide, axis=(1, 2), keepdims=True).astype(spectrogram.dtype)
    return jnp.where(hidden[..., None], mean, spectrogram)


def _stripes(
    keys: Key[Array, "b"], purpose: int, masks: Stripes, size: int
) -> Bool[Array, "b size"]:
    """Whether each place of the axis is in one of the stripes."""
    number, widest = masks
    most = int(widest * size)
    places = jnp.arange(size)

    def of_row(key: Array) -> Array:
        def one(stripe: Array) -> Array:
            of_width, of_start = jax.random.split(jax.random.fold_in(own, stripe))
            width = jax.random.randint(of_width, (), 0, most + 1)
            start = jax.random.randint(of_start, (), 0, size - width + 1)
            return (places >= start) & (places < start + width)

        own = jax.random.fold_in(key, purpose)
        return jnp.any(jax.vmap(one)(jnp.arange(int(number))), axis=0)

    return jax.vmap(of_row)(keys)
