"""torchvision's ResNets on frames and on spectrograms."""

from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float, Int

from avssl.models.convolution import HE_FAN_OUT, TORCH_UNIFORM, Conv
from avssl.models.features import Features
from avssl.models.max_pool import max_pool2d
from avssl.models.norm import BatchNorm
from avssl.models.pooling import pooling_named
from avssl.models.residual import BasicBlock, Bottleneck, residual_stages


class ResNet18Video(nn.Module):
    """torchvision's ResNet-18 on each frame by itself, pooled to 512; of several frames the mean.

    He et al. 2016 (CVPR, arXiv 1512.03385), as in `torchvision/models/resnet.py`, without its `fc`.
    A 7x7 stem of stride 2 and a max pooling, then four stages. Taps: `conv1` (the stem after its
    pooling), `layer1` to `layer4`. `blocks`, `widths` and `strides` have one number per stage;
    strides 1, 2, 2, 1 leave the map twice as fine, as in LVS. `pooling` ("mean" or "max") is over
    positions. The image networks of EZ-VSL and LVS, whose features are the map.
    """

    widths: tuple[int, ...] = (64, 128, 256, 512)
    blocks: tuple[int, ...] = (2, 2, 2, 2)
    strides: tuple[int, ...] = (1, 2, 2, 2)
    pooling: str = "mean"
    dtype: DTypeLike = jnp.float32

    modality = "video"
    by_frame = True
    block = BasicBlock
    stem_init = staticmethod(HE_FAN_OUT)

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *time h w c"], *, train: bool, rows: Int[Array, "b"] | None = None
    ) -> Features:
        pool = pooling_named(self.pooling)
        leading = x.shape[:-3]
        x = x.reshape(-1, *x.shape[-3:])
        norm = partial(BatchNorm, dtype=self.dtype)
        settings = {"kernel_init": self.stem_init, "dtype": self.dtype, "name": "conv1"}
        x = Conv(self.widths[0], (7, 7), (2, 2), **settings)(x)
        x = nn.relu(norm(name="norm1")(x, train=train))
        x = max_pool2d(x, window=3, stride=2, padding=1)
        taps = {"conv1": x} | residual_stages(
            x,
            partial(self.block, kernel_size=(3, 3), norm=norm, dtype=self.dtype),
            widths=self.widths,
            blocks=self.blocks,
            strides=self.strides,
            train=train,
        )
        taps = {name: tap.reshape(*leading, *tap.shape[1:]) for name, tap in taps.items()}
        last = taps[f"layer{len(self.blocks)}"]
        embedding = pool(last, axis=(-3, -2)).reshape(len(last), -1, last.shape[-1]).mean(axis=1)
        return Features(embedding=embedding, map=last, taps=taps)


class ResNet34Video(ResNet18Video):
    """torchvision's ResNet-34, as `ResNet18Video`. CCL's image teacher, pooled to 512."""

    blocks: tuple[int, ...] = (3, 4, 6, 3)


class ResNet50Video(ResNet18Video):
    """torchvision's ResNet-50, as `ResNet18Video`: bottlenecks, four times as many channels come out."""

    blocks: tuple[int, ...] = (3, 4, 6, 3)
    block = Bottleneck


class ResNet18Audio(ResNet18Video):
    """torchvision's ResNet-18 on a spectrogram, mean-pooled to 512: `ResNet18Video` on one picture.

    Strides 1, 2, 2, 1 are those of the PyTorch release of DMC and of LVS; EZ-VSL and LVS pool by
    "max". The first layer is drawn from PyTorch's default distribution, not from the other layers',
    because SeLaVi's code puts one for a single channel in the place of torchvision's. XDC (Alwassel
    et al., NeurIPS 2020) has a ResNet-18 on log-mel images (not verified: no such code is released).
    """

    modality = "audio"
    any_length = True
    stem_init = staticmethod(TORCH_UNIFORM)


class ResNet34Audio(ResNet18Audio):
    """torchvision's ResNet-34 on a spectrogram, as `ResNet18Audio`."""

    blocks: tuple[int, ...] = (3, 4, 6, 3)


class ResNet50Audio(ResNet18Audio):
    """torchvision's ResNet-50 on a spectrogram, as `ResNet18Audio`; mean-pooled to 2048."""

    blocks: tuple[int, ...] = (3, 4, 6, 3)
    block = Bottleneck


class ResNet9Audio(ResNet18Audio):
    """SeLaVi's audio network (Asano et al., NeurIPS 2020): `ResNet18Audio` with one block a stage."""

    blocks: tuple[int, ...] = (1, 1, 1, 1)
