"""ResNets on spectrograms."""

from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float, Int

from avssl.models.convolution import TORCH_UNIFORM, Conv
from avssl.models.features import Features
from avssl.models.norm import BatchNorm
from avssl.models.pooling import max_pool2d
from avssl.models.residual import BasicBlock


class ResNet18Audio(nn.Module):
    """torchvision's ResNet-18 on a spectrogram, mean-pooled to 512.

    He et al. 2016 (CVPR, arXiv 1512.03385), as in `torchvision/models/resnet.py`, without its `fc`.
    A 7x7 stem of stride 2 and a max pooling, then four stages. Taps: `conv1` (the stem after its
    pooling), `layer1` to `layer4`. `blocks`, `widths` and `strides` have one number per stage;
    strides 1, 2, 2, 1 leave the map twice as fine, as in the PyTorch release of DMC.

    The first layer is drawn from PyTorch's default distribution, not from the other layers', because
    SeLaVi's code puts one for a single channel in the place of torchvision's. XDC (Alwassel et al.,
    NeurIPS 2020) has a ResNet-18 on log-mel images (not verified: no such code is released).
    """

    widths: tuple[int, ...] = (64, 128, 256, 512)
    blocks: tuple[int, ...] = (2, 2, 2, 2)
    strides: tuple[int, ...] = (1, 2, 2, 2)
    dtype: DTypeLike = jnp.float32

    modality = "audio"

    @nn.compact
    def __call__(
        self, x: Float[Array, "b t f c"], *, train: bool, rows: Int[Array, "b"] | None = None
    ) -> Features:
        norm = partial(BatchNorm, dtype=self.dtype)
        settings = {"kernel_init": TORCH_UNIFORM, "dtype": self.dtype, "name": "conv1"}
        x = Conv(self.widths[0], (7, 7), (2, 2), **settings)(x)
        x = nn.relu(norm(name="norm1")(x, train=train))
        x = max_pool2d(x, window=3, stride=2, padding=1)
        taps = {"conv1": x}
        stages = zip(self.blocks, self.widths, self.strides, strict=True)
        for stage, (num_blocks, width, stage_stride) in enumerate(stages, start=1):
            for block in range(num_blocks):
                stride = stage_stride if block == 0 else 1
                layer = BasicBlock(
                    width,
                    (3, 3),
                    (stride, stride),
                    norm,
                    dtype=self.dtype,
                    name=f"layer{stage}_{block}",
                )
                x = layer(x, train=train)
            taps[f"layer{stage}"] = x
        return Features(embedding=jnp.mean(x, axis=(1, 2)), map=x, taps=taps)


class ResNet9Audio(ResNet18Audio):
    """SeLaVi's audio network (Asano et al., NeurIPS 2020): `ResNet18Audio` with one block a stage."""

    blocks: tuple[int, ...] = (1, 1, 1, 1)
