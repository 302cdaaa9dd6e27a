"""Vision transformers of video, in tubelets, and of spectrograms, in patches."""

from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float, Int

from avssl.errors import UsageError, unknown
from avssl.models.draws import DRAW_RNG, split_tokens
from avssl.models.features import Features, Patches
from avssl.models.pooling import pooling_named
from avssl.models.precision import parameter_dtype
from avssl.models.transformer import Blocks

# (width, depth, heads, hidden width) of ViT-S, B and L (Steiner et al. 2022), H (Dosovitskiy et al. 2021) and g
# (Zhai et al. 2022); `tiny` is for small data and tests.
SIZES = {
    "tiny": (64, 2, 2, 128),
    "S": (384, 12, 6, 1536),
    "B": (768, 12, 12, 3072),
    "L": (1024, 24, 16, 4096),
    "H": (1280, 32, 16, 5120),
    "g": (1408, 40, 16, 6144),
}


class Vit(nn.Module):
    """What both have: patches, positions, blocks, a norm; the embedding is the `pooling` over patches.

    Positions are sines and cosines of each axis, a share of the width for each (He et al. 2022), so that any
    number of patches can be read. patch_drop: the share of patches that training leaves out, drawn for each
    row; the map and the taps, which need all of them, are then absent. Taps: `block0` .... `pooling`: "mean"
    or "max". `depth`: so many blocks in place of the size's own.

    No class token; kernels start as Xavier-uniform, as in scenic. Patches are products of reshaped pixels:
    the same sum as a strided convolution, which TPU compilers take half an hour for.
    """

    size: str = "B"
    depth: int | None = None
    drop_path: float = 0.0
    patch_drop: float = 0.0
    pooling: str = "mean"
    narrow_scores: bool = False
    flash: bool = False
    remat: str = "none"
    scan: bool = False
    dtype: DTypeLike = jnp.float32

    def tokens(
        self,
        patches: Float[Array, "b *grid p"],
        *,
        train: bool,
        rows: Int[Array, "b"] | None,
    ) -> Features:
        if self.size not in SIZES:
            raise unknown("size of a vision transformer", self.size, SIZES)
        width, own_depth, num_heads, hidden = SIZES[self.size]
        depth = own_depth if self.depth is None else self.depth
        if depth < 1:
            raise UsageError(f"depth of a vision transformer must be at least 1, not {depth}")
        pool = pooling_named(self.pooling)
        if not 0 <= self.patch_drop < 1:
            raise UsageError(f"patch_drop must be at least 0 and below 1, not {self.patch_drop}")
        held = parameter_dtype(self.dtype)
        batch, *grid, _ = patches.shape
        inputs = patches.reshape(batch, -1, patches.shape[-1])
        num_patches = inputs.shape[1]
        num_kept = max(1, round(num_patches * (1 - self.patch_drop)))
        dropping = train and num_kept < num_patches
        table = jnp.asarray(positions(tuple(grid), width), self.dtype)
        seen, at = inputs, table[None]
        places = jnp.broadcast_to(jnp.arange(num_patches, dtype=jnp.int32), (batch, num_patches))
        hidden_places = places[:, :0]
        if dropping:
            if rows is None:
                raise ValueError(
                    "patch_drop in training needs `rows`, the rows of the global batch"
                )
            places, hidden_places = split_tokens(
                self.make_rng(DRAW_RNG), rows, num_patches, num_kept
            )
            seen, at = patches_at(inputs, places), table[places]
        embed = nn.Dense(width, dtype=self.dtype, param_dtype=held, name="patches")
        x = embed(seen) + at
        blocks = Blocks(
            depth, num_heads, hidden, self.drop_path, self.narrow_scores, self.flash, self.remat,
            self.scan, dtype=self.dtype, name="blocks",
        )  # fmt: skip
        x, taps = blocks(x, train=train, rows=rows)
        norm = nn.LayerNorm(
            epsilon=1e-6, use_fast_variance=False, dtype=self.dtype, param_dtype=held, name="norm"
        )
        x = norm(x)
        embedding = pool(x, axis=1)
        split = Patches(x, places, hidden_places, inputs, tuple(grid))
        if dropping:
            return Features(embedding=embedding, patches=split)

        def on_grid(array: Array) -> Array:
            return array.reshape(batch, *grid, array.shape[-1])

        return Features(
            embedding=embedding,
            map=on_grid(x),
            taps={name: on_grid(tap) for name, tap in taps.items()},
            patches=split,
        )


class VideoVit(Vit):
    """Tubelets of `patch` = (frames, height, width) of a video (ViViT, Arnab et al. 2021).

    The map is [batch, time, height, width, channels].
    """

    patch: tuple[int, int, int] = (2, 16, 16)

    modality = "video"

    @nn.compact
    def __call__(
        self, x: Float[Array, "b t h w 3"], *, train: bool, rows: Int[Array, "b"] | None = None
    ) -> Features:
        sizes = x.shape[1:4]
        if any(size % side for size, side in zip(sizes, self.patch, strict=True)):
            raise UsageError(
                f"a video of {sizes[0]} frames of {sizes[1]} x {sizes[2]} is not made of tubelets of "
                f"{self.patch}: change frames or size of its view, or the encoder's patch"
            )
        return self.tokens(cut(x, self.patch), train=train, rows=rows)


class AudioVit(Vit):
    """Patches of `patch` = (frames, bands) of a spectrogram (AST, Gong et al. 2021, without overlap).

    Its front end gives decibels less their usual mean, over their usual spread: plain ones are so large that
    nothing would be seen of the positions beside them. Frames and bands are filled up to whole patches with
    zeros, which is that mean. The map is [batch, time, frequency, channels].
    """

    patch: tuple[int, int] = (16, 16)

    modality = "audio"
    frontend: ClassVar[dict[str, object]] = {
        "name": "log_mel", "num_mels": 128, "mean": -40.0, "std": 20.0,
    }  # fmt: skip

    @nn.compact
    def __call__(
        self, x: Float[Array, "b t f c"], *, train: bool, rows: Int[Array, "b"] | None = None
    ) -> Features:
        missing = [-size % side for size, side in zip(x.shape[1:3], self.patch, strict=True)]
        x = jnp.pad(x, ((0, 0), (0, missing[0]), (0, missing[1]), (0, 0)))
        return self.tokens(cut(x, self.patch), train=train, rows=rows)


def patches_at(patches: Float[Array, "b n p"], places: Int[Array, "b k"]) -> Float[Array, "b k p"]:
    # Indexing by [arange, places] would gather the whole batch on each device of a mesh.
    return jnp.take_along_axis(patches, places[:, :, None], axis=1)


def cut(x: Float[Array, "b *sizes c"], patch: tuple[int, ...]) -> Float[Array, "b *grid p"]:
    """[batch, grid ..., pixels of a patch]."""
    batch, *sizes, channels = x.shape
    grid = [size // side for size, side in zip(sizes, patch, strict=True)]
    split = [part for pair in zip(grid, patch, strict=True) for part in pair]
    axes = range(1, 2 * len(grid) + 1)
    order = (0, *axes[::2], *axes[1::2], 2 * len(grid) + 1)
    return x.reshape(batch, *split, channels).transpose(order).reshape(batch, *grid, -1)


def positions(grid: tuple[int, ...], width: int) -> np.ndarray:
    """[positions, width]: for each axis as many sines and cosines as fit, the rest of the width zeros."""
    share = width // len(grid) // 2
    rates = 1 / 10000 ** (np.arange(share) / max(share, 1))
    axes = np.meshgrid(*(np.arange(size) for size in grid), indexing="ij")
    angles = [np.outer(axis.reshape(-1), rates) for axis in axes]
    waves = [wave(angle) for angle in angles for wave in (np.sin, np.cos)]
    flat = np.concatenate(waves, axis=1)
    return np.pad(flat, ((0, 0), (0, width - flat.shape[1]))).astype(np.float32)
