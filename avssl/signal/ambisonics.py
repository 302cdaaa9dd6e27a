"""First-order ambisonics: turned to a viewing direction, heard from it, turned away.

Channels are in ACN order W, Y, Z, X with SN3D, so that a plane wave from a unit vector (x, y, z) has
gains (1, y, z, x): x to the front, y to the left, z up. Azimuth is counted to the left and elevation
upwards, in radians. The maths is float32, or float64 for float64 input; the result has the
waveform's dtype.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from avssl.signal.spectrum import widened

Ambisonics = Float[Array, "*batch n 4"]
Angle = Float[Array, "*batch"]


def viewing_angles(center: Float[Array, "*batch 2"]) -> tuple[Angle, Angle]:
    """Azimuth and elevation of the point (x, y) in [0, 1]^2 of an equirectangular frame.

    The middle of the frame is the front; y grows downwards.
    """
    return (1.0 - 2.0 * center[..., 0]) * math.pi, (0.5 - center[..., 1]) * math.pi


def rotate_to_view(
    ambisonics: Ambisonics, azimuth: Angle, elevation: Angle, *, official_order: bool = False
) -> Ambisonics:
    """The sound as heard when looking in a direction: a source there comes to the front.

    On (X, Y, Z) this is Ry(elevation) Rz(-azimuth). The released code of AVSA (Morgado et al. 2020,
    `utils/video360.py`) multiplies in the other order, Rz(-azimuth) Ry(elevation), which misses the
    front wherever neither angle is 0; `official_order` gives its numbers.
    """
    dtype = widened(ambisonics.dtype)
    yaw, pitch = _about_z(-azimuth.astype(dtype)), _about_y(elevation.astype(dtype))
    first, second = (pitch, yaw) if official_order else (yaw, pitch)
    return _rotate(ambisonics, _product("...ij,...jk->...ik", second, first))


def rotate_yaw(ambisonics: Ambisonics, yaw: Angle) -> Ambisonics:
    """All sources turned to the left by an angle: sound that no longer belongs to its picture."""
    return _rotate(ambisonics, _about_z(yaw.astype(widened(ambisonics.dtype))))


def decode_mono(
    ambisonics: Ambisonics, azimuth: Angle, elevation: Angle
) -> Float[Array, "*batch n"]:
    """What a cardioid pointed in a direction hears: W plus the direction's share of X, Y, Z.

    A plane wave from there comes out twice as loud as it is, as in the released `decode_ambix`.
    """
    dtype = widened(ambisonics.dtype)
    azimuth, elevation = azimuth.astype(dtype), elevation.astype(dtype)
    level = jnp.cos(elevation)
    gains = jnp.stack(
        [
            jnp.ones_like(azimuth),
            jnp.sin(azimuth) * level,
            jnp.sin(elevation),
            jnp.cos(azimuth) * level,
        ],
        axis=-1,
    )
    mono = _product("...nc,...c->...n", ambisonics.astype(dtype), gains)
    return mono.astype(ambisonics.dtype)


def _rotate(ambisonics: Ambisonics, matrix: Float[Array, "*batch 3 3"]) -> Ambisonics:
    """`matrix` acts on (X, Y, Z); W stays."""
    order = jnp.array([1, 2, 0])  # Y, Z, X of X, Y, Z
    matrix = matrix[..., order, :][..., :, order]
    wide = ambisonics.astype(matrix.dtype)
    rotated = _product("...ij,...nj->...ni", matrix, wide[..., 1:])
    return jnp.concatenate([wide[..., :1], rotated], axis=-1).astype(ambisonics.dtype)


def _about_z(angle: Angle) -> Float[Array, "*batch 3 3"]:
    """Turns x towards y."""
    zero, one = jnp.zeros_like(angle), jnp.ones_like(angle)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return _matrix([[cos, -sin, zero], [sin, cos, zero], [zero, zero, one]])


def _about_y(angle: Angle) -> Float[Array, "*batch 3 3"]:
    """Turns z towards x."""
    zero, one = jnp.zeros_like(angle), jnp.ones_like(angle)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return _matrix([[cos, zero, sin], [zero, one, zero], [-sin, zero, cos]])


def _matrix(entries: list[list[Array]]) -> Float[Array, "*batch 3 3"]:
    return jnp.stack([jnp.stack(row, axis=-1) for row in entries], axis=-2)


def _product(indices: str, first: Array, second: Array) -> Array:
    return jnp.einsum(indices, first, second, precision=jax.lax.Precision.HIGHEST)
