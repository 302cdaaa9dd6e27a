"""torchvision's video ResNets."""

from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float, Int

from avssl.models.convolution import HE_FAN_OUT, Conv
from avssl.models.features import Features
from avssl.models.norm import BatchNorm
from avssl.models.residual import BasicBlock, FactoredConv

# torchvision's number whatever the widths; it is not the matched one.
STEM_MIDPLANES = 45


class R3D18(nn.Module):
    """torchvision's `r3d_18`: 3-D convolutions all through, mean-pooled to 512.

    Tran et al. 2018 ("A Closer Look at Spatiotemporal Convolutions", CVPR, arXiv 1711.11248), as in
    `torchvision/models/video/resnet.py`, without its `fc`. A 3x7x7 stem halves space, stages two to
    four halve space and time; no max pooling. Taps: `stem`, `layer1` to `layer4`. `blocks` and
    `widths` (one per stage) make a smaller one; `norm_epsilon` and `norm_momentum` are BatchNorm's,
    in PyTorch's sense (momentum is the weight of the new value).
    """

    widths: tuple[int, ...] = (64, 128, 256, 512)
    blocks: tuple[int, ...] = (2, 2, 2, 2)
    norm_epsilon: float = 1e-5
    norm_momentum: float = 0.1
    dtype: DTypeLike = jnp.float32

    modality = "video"
    fixed_stages = True
    time_kernels = (3, 3, 3, 3)  # of each stage
    factored = False

    @nn.compact
    def __call__(
        self, x: Float[Array, "b t h w 3"], *, train: bool, rows: Int[Array, "b"] | None = None
    ) -> Features:
        norm = partial(BatchNorm, self.norm_epsilon, self.norm_momentum, dtype=self.dtype)
        width, kernel, strides = self.widths[0], (3, 7, 7), (1, 2, 2)
        if self.factored:
            settings = (width, STEM_MIDPLANES, kernel, strides, norm)
            x = FactoredConv(*settings, dtype=self.dtype, name="stem")(x, train=train)
        else:
            stem = Conv(
                width, kernel, strides, kernel_init=HE_FAN_OUT, dtype=self.dtype, name="stem"
            )
            x = stem(x)
        taps = {"stem": nn.relu(norm(name="stem_norm")(x, train=train))}
        x = taps["stem"]
        stages = zip(self.blocks, self.widths, self.time_kernels, strict=True)
        for stage, (num_blocks, width, time_kernel) in enumerate(stages, start=1):
            kernel = (time_kernel, 3, 3)
            for block in range(num_blocks):
                stride = 2 if stage > 1 and block == 0 else 1
                # Time keeps its length where no convolution sees more than one frame.
                strides = (stride if time_kernel > 1 else 1, stride, stride)
                settings = (width, kernel, strides, norm, self.factored, self.dtype)
                x = BasicBlock(*settings, name=f"layer{stage}_{block}")(x, train=train)
            taps[f"layer{stage}"] = x
        return Features(embedding=jnp.mean(x, axis=(1, 2, 3)), map=x, taps=taps)


class MC318(R3D18):
    """torchvision's `mc3_18`: 3-D convolutions in the stem and the first stage, then 1x3x3 ones.

    As `R3D18`, but only space is halved. AVTS (Korbar et al., NeurIPS 2018) has a mixed
    convolution network of this kind; that it is exactly this one is not verified.
    """

    time_kernels = (3, 1, 1, 1)


class TorchvisionR2Plus1D18(R3D18):
    """torchvision's `r2plus1d_18`: every 3-D convolution of `R3D18` is one over space, one over time.

    The channels between the two make up for the weights (`matched_midplanes`), 45 in the stem. It is
    the video network of XDC (Alwassel et al., NeurIPS 2020), whose released model has norm_epsilon
    1e-3 and norm_momentum 0.9, and of SeLaVi (Asano et al., NeurIPS 2020). AVID's R(2+1)D-18 is
    another network: `R2Plus1D18`.
    """

    factored = True
