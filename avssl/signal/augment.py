"""From integers to floats, and augmentations of colour and volume.

Every draw is a function of the row's key alone. The draws of one row are told apart by folding in
the purpose, so that turning one amount on or off leaves the others as they were; they are made in
float32 whatever the precision of the run, so that all precisions see the same augmentation, and
brought to their range in the precision of the run, since that rounds. An amount of 0 adds nothing
to the compiled step.
"""

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int16, Key, UInt8

from avssl.errors import UsageError
from avssl.signal.spectrum import widened

Amount = float | int
Clips = Float[Array, "b t h w 3"]
Factors = Float[Array, "b 1 1 1 1"]
BRIGHTNESS, CONTRAST, SATURATION, HUE, VOLUME = range(5)
# ITU-R 601, as Pillow and torchvision turn colours to grey.
GREY = (0.2989, 0.587, 0.114)


def video_to_float(video: UInt8[Array, "*shape"], dtype: DTypeLike) -> Float[Array, "*shape"]:
    """Pixels in [0, 1]."""
    return (video.astype(widened(jnp.dtype(dtype))) / 255.0).astype(dtype)


def audio_to_float(audio: Int16[Array, "*shape"], dtype: DTypeLike) -> Float[Array, "*shape"]:
    """Samples in [-1, 1). Exact in float32; bf16 keeps 8 of the 16 bits."""
    return (audio.astype(widened(jnp.dtype(dtype))) / 32768.0).astype(dtype)


def colour_jitter(
    video: Clips,
    keys: Key[Array, "b"],
    *,
    brightness: Amount,
    contrast: Amount,
    saturation: Amount,
    hue: Amount,
) -> Clips:
    """torchvision's ColorJitter on pixels in [0, 1], with one draw for all frames of a clip.

    The factors of brightness, contrast and saturation are uniform in [max(0, 1 - amount),
    1 + amount], the turn of the hue in [-hue, hue]. Contrast is around the mean grey of each frame,
    as there. Departure: torchvision shuffles the four steps for each draw; here they always come in
    the order of the arguments, since a batch with several orders would have to compute them all.
    """
    if not 0 <= hue <= 0.5:
        raise UsageError(
            f"hue of a view must lie in 0..0.5 (half a turn of the colour circle), not {hue}"
        )
    if min(brightness, contrast, saturation) < 0:
        raise UsageError(
            "brightness, contrast and saturation of a view must not be negative, "
            f"not {brightness}, {contrast} and {saturation}"
        )
    if not (brightness or contrast or saturation or hue):
        return video
    wide = video.astype(widened(video.dtype))
    if brightness:
        wide = _blend(wide, jnp.zeros_like(wide), _factor(keys, BRIGHTNESS, brightness, wide.dtype))
    if contrast:
        mean_grey = jnp.mean(_grey(wide), axis=(2, 3, 4), keepdims=True)
        wide = _blend(wide, mean_grey, _factor(keys, CONTRAST, contrast, wide.dtype))
    if saturation:
        wide = _blend(wide, _grey(wide), _factor(keys, SATURATION, saturation, wide.dtype))
    if hue:
        turn = _uniform(keys, HUE, -hue, hue, wide.dtype)
        wide = _turn_hue(wide, turn[:, None, None, None])
    return wide.astype(video.dtype)


def volume(
    waveform: Float[Array, "b n c"], keys: Key[Array, "b"], *, amount: Amount
) -> Float[Array, "b n c"]:
    """The waveform times a gain uniform in [1 - amount, 1 + amount], one for all channels.

    Departure from AVSA, which clips the result to [-1, 1]: nothing behind it needs that.
    """
    if not 0 <= amount <= 1:
        raise UsageError(f"volume of a view must lie in 0..1, not {amount}")
    if not amount:
        return waveform
    wide = waveform.astype(widened(waveform.dtype))
    gain = _uniform(keys, VOLUME, 1 - amount, 1 + amount, wide.dtype)
    return (wide * gain[:, None, None]).astype(waveform.dtype)


def _uniform(
    keys: Key[Array, "b"], purpose: int, low: Amount, high: Amount, dtype: DTypeLike
) -> Float[Array, "b"]:
    def draw(key):
        return jax.random.uniform(jax.random.fold_in(key, purpose), dtype=jnp.float32)

    return low + (high - low) * jax.vmap(draw)(keys).astype(dtype)


def _factor(keys: Key[Array, "b"], purpose: int, amount: Amount, dtype: DTypeLike) -> Factors:
    drawn = _uniform(keys, purpose, max(0.0, 1 - amount), 1 + amount, dtype)
    return drawn[:, None, None, None, None]


def _blend(video: Array, other: Array, factor: Factors) -> Array:
    return jnp.clip(factor * video + (1.0 - factor) * other, 0.0, 1.0)


def _grey(video: Clips) -> Float[Array, "b t h w 1"]:
    red, green, blue = (video[..., i : i + 1] for i in range(3))
    return GREY[0] * red + GREY[1] * green + GREY[2] * blue


def _turn_hue(video: Clips, turn: Float[Array, "b 1 1 1"]) -> Clips:
    """Through HSV: value and saturation stay, the hue moves by `turn` of the colour circle."""
    red, green, blue = video[..., 0], video[..., 1], video[..., 2]
    value = jnp.max(video, axis=-1)
    chroma = value - jnp.min(video, axis=-1)
    divisor = jnp.where(chroma == 0.0, 1.0, chroma)
    # Not `value == red`: a fused loop may compute red twice, rounded differently, and then no
    # branch matches. The order of two channels is continuous where it flips.
    sector = jnp.where(
        (red >= green) & (red >= blue),
        (green - blue) / divisor,
        jnp.where(green >= blue, (blue - red) / divisor + 2.0, (red - green) / divisor + 4.0),
    )
    sector = sector + 6.0 * turn

    def channel(offset):
        place = sector + offset
        # Not jnp.mod: a CPU has no vector instruction for it, which tripled the time.
        place = place - 6.0 * jnp.floor(place / 6.0)
        return value - chroma * jnp.clip(jnp.minimum(place, 4.0 - place), 0.0, 1.0)

    return jnp.stack([channel(5.0), channel(3.0), channel(1.0)], axis=-1)
