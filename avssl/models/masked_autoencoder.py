"""What lies behind the encoders of a masked autoencoder of two modalities."""

from collections.abc import Mapping
from functools import partial
from itertools import accumulate

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from avssl.errors import UsageError
from avssl.models.features import Patches
from avssl.models.precision import parameter_dtype
from avssl.models.transformer import XAVIER, Blocks
from avssl.models.vit import positions

HEAD_WIDTH = 64


class NormedBlocks(nn.Module):
    """Blocks and a norm behind them: heads of 64 numbers, hidden layers four times as wide as the vectors."""

    depth: int
    narrow_scores: bool
    flash: bool
    remat: str

    @nn.compact
    def __call__(
        self, x: Float[Array, "b n d"], *, train: bool, rows: Int[Array, "b"] | None
    ) -> Float[Array, "b n d"]:
        width = x.shape[-1]
        blocks = Blocks(
            self.depth, max(1, width // HEAD_WIDTH), 4 * width, narrow_scores=self.narrow_scores,
            flash=self.flash, remat=self.remat, dtype=x.dtype, name="blocks",
        )  # fmt: skip
        x, _ = blocks(x, train=train, rows=rows)
        norm = nn.LayerNorm(
            epsilon=1e-6, use_fast_variance=False, dtype=x.dtype,
            param_dtype=parameter_dtype(x.dtype), name="norm",
        )  # fmt: skip
        return norm(x)


class MaskedAutoencoder(nn.Module):
    """The inputs of the hidden patches, as they are told from those that were seen.

    Georgescu et al. 2023 (arXiv 2212.05922), released in scenic (`projects/av_mae/vivit_multimodal.py`,
    `separate_encoders_and_concat`, `same_decoder`): `fused_depth` blocks over the vectors of all modalities
    one after another; a projection of each modality's to `decoder_width`; a learnt vector for every hidden
    patch (from zeros); positions; then for each modality by itself the same `decoder_depth` blocks; a linear
    layer that starts at zero.

    The decoder looks at what was seen first and at what was hidden then, each with the position of its place:
    the same sum as with all of them in order, and nothing is scattered. Computes in the type of the encoders.
    """

    fused_depth: int = 2
    decoder_width: int = 384
    decoder_depth: int = 4
    narrow_scores: bool = False
    flash: bool = False
    remat: str = "none"

    @nn.compact
    def __call__(
        self, patches: Mapping[str, Patches], *, train: bool, rows: Int[Array, "b"] | None
    ) -> dict[str, Float[Array, "b m p"]]:
        seen = {name: one.seen for name, one in patches.items()}
        if self.fused_depth:
            seen = self.fused(seen, train=train, rows=rows)
        dtype = jnp.result_type(*seen.values())
        held = parameter_dtype(dtype)
        dense = partial(nn.Dense, dtype=dtype, param_dtype=held)
        decoder = self.blocks(self.decoder_depth, "decoder")
        predicted = {}
        for name, one in patches.items():
            table = jnp.asarray(positions(one.grid, self.decoder_width), dtype)
            shown = dense(self.decoder_width, kernel_init=XAVIER, name=f"{name}_projection")
            mask = self.param(f"{name}_mask", nn.initializers.zeros, (self.decoder_width,), held)
            hidden = mask.astype(dtype)[None, None] + table[one.hidden]
            tokens = jnp.concatenate([shown(seen[name]) + table[one.places], hidden], axis=1)
            decoded = decoder(tokens, train=train, rows=rows)[:, one.places.shape[1] :]
            inputs = dense(
                one.inputs.shape[-1], kernel_init=nn.initializers.zeros, name=f"{name}_inputs"
            )
            predicted[name] = inputs(decoded)
        return predicted

    def fused(
        self, seen: dict[str, Array], *, train: bool, rows: Int[Array, "b"] | None
    ) -> dict[str, Array]:
        widths = {name: one.shape[-1] for name, one in seen.items()}
        if len(set(widths.values())) > 1:
            raise UsageError(
                "blocks over both modalities need vectors of one width, not "
                + ", ".join(f"{width} of {name}" for name, width in widths.items())
                + ": give the encoders one size, or set fused_depth=0"
            )
        together = jnp.concatenate(list(seen.values()), axis=1)
        together = self.blocks(self.fused_depth, "fused")(together, train=train, rows=rows)
        borders = list(accumulate(one.shape[1] for one in seen.values()))[:-1]
        return dict(zip(seen, jnp.split(together, borders, axis=1), strict=True))

    def blocks(self, depth: int, name: str) -> NormedBlocks:
        return NormedBlocks(depth, self.narrow_scores, self.flash, self.remat, name=name)
