"""Detectors on anchors: what is where in a picture, seen in it or heard.

They say at each anchor of `losses.anchors.anchor_boxes` which class is there, and how its box differs
from the anchor: `anchor_outputs` brings their maps into its order, as `losses.detection` reads them.
"""

from collections.abc import Mapping, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float, Int

from avssl.errors import UsageError
from avssl.models.blocks import ConvNormRelu
from avssl.models.convolution import Conv
from avssl.models.features import Features
from avssl.models.max_pool import max_pool2d
from avssl.models.norm import BatchNorm
from avssl.models.pyramid import BidirectionalPyramid
from avssl.models.resnet2d import ResNet18Video

# What the classes' biases say before anything is learnt (Lin et al. 2017, arXiv 1708.02002).
PRIOR_PROBABILITY = 0.01
# The stage of the backbone that has stride 2**level is `layer{level - 1}`.
FIRST_LEVEL, LAST_STAGE_LEVEL = 2, 5


class AnchorHead(nn.Module):
    """Convolutions that all levels share, with norms of each level's own, and a last one with bias.

    Out come `num_anchors * outputs` channels, those of an anchor together.
    """

    width: int
    depth: int
    num_anchors: int
    outputs: int
    bias: float
    dtype: DTypeLike

    @nn.compact
    def __call__(
        self, maps: list[Float[Array, "b _ _ c"]], *, train: bool
    ) -> list[Float[Array, "b _ _ d"]]:
        for layer in range(1, self.depth + 1):
            conv = Conv(self.width, (3, 3), dtype=self.dtype, name=f"conv{layer}")
            norms = [
                BatchNorm(dtype=self.dtype, name=f"norm{layer}_{level}")
                for level in range(len(maps))
            ]
            maps = [
                nn.relu(norm(conv(x), train=train)) for norm, x in zip(norms, maps, strict=True)
            ]
        last = Conv(
            self.num_anchors * self.outputs,
            (3, 3),
            kernel_init=nn.initializers.normal(0.01),
            bias_init=nn.initializers.constant(self.bias),
            dtype=self.dtype,
            name="last",
        )
        return [last(x) for x in maps]


class SmallDetectorVideo(nn.Module):
    """A small EfficientDet-like detector, on each frame by itself.

    In the place of the EfficientDet-D2s of MM-DistillNet (Valverde et al. 2021, arXiv 2103.01353; 768
    pixels, 112 channels, 5 fusions, heads of 3 layers, levels 3 to 7), which no CPU trains: a ResNet
    with few channels, `num_fusions` BiFPN layers of `pyramid_width`, heads of `head_depth`. No
    published numbers or weights belong to it. Pictures may have any number of channels (depth,
    thermal); their sides are multiples of the coarsest stride, 2 to the power of the last level.

    `levels` follow each other, from 2 (stride 4) on; from 6 on they are poolings of level 5. Anchors:
    `anchor_boxes(height, width, strides=[2**level for level in levels])`, 9 for each cell.
    Taps: `level3` ... are the pyramid's maps (which MTA aligns), `classes3` ... [.., num_anchors *
    num_classes] logits and `offsets3` ... [.., num_anchors * 4] what the heads say. The map is the
    pyramid's finest; the embedding the mean of its coarsest, and over frames.
    """

    num_classes: int = 1
    widths: tuple[int, ...] = (16, 32, 64, 64)
    blocks: tuple[int, ...] = (1, 1, 1, 1)
    pyramid_width: int = 32
    num_fusions: int = 1
    head_depth: int = 1
    levels: tuple[int, ...] = (3, 4, 5)
    num_anchors: int = 9
    dtype: DTypeLike = jnp.float32

    modality = "video"
    by_frame = True
    fixed_stages = True

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *time h w c"], *, train: bool, rows: Int[Array, "b"] | None = None
    ) -> Features:
        leading = x.shape[:-3]
        taps = self.on_pictures(x.reshape(-1, *x.shape[-3:]), train)
        taps = {name: tap.reshape(*leading, *tap.shape[1:]) for name, tap in taps.items()}
        coarsest = taps[f"level{self.levels[-1]}"]
        embedding = coarsest.reshape(leading[0], -1, self.pyramid_width).mean(axis=1)
        return Features(embedding=embedding, map=taps[f"level{self.levels[0]}"], taps=taps)

    def on_pictures(self, x: Float[Array, "n h w c"], train: bool) -> dict[str, Array]:
        self.check(*x.shape[1:3])
        backbone = ResNet18Video(self.widths, self.blocks, dtype=self.dtype, name="backbone")
        stages = backbone(x, train=train).taps
        maps = []
        for level in self.levels:
            if level <= LAST_STAGE_LEVEL:
                name = f"layer{level - 1}"
                lateral = ConvNormRelu(self.pyramid_width, (1, 1), dtype=self.dtype, name=name)
                maps.append(lateral(stages[name], train=train))
            else:
                maps.append(max_pool2d(maps[-1], window=3, stride=2, padding=1))
        for number in range(1, self.num_fusions + 1):
            maps = BidirectionalPyramid(self.dtype, name=f"pyramid{number}")(maps, train=train)
        taps = {f"level{level}": x for level, x in zip(self.levels, maps, strict=True)}
        rare = float(-np.log((1 - PRIOR_PROBABILITY) / PRIOR_PROBABILITY))
        for name, outputs, bias in (("classes", self.num_classes, rare), ("offsets", 4, 0.0)):
            settings = (self.pyramid_width, self.head_depth, self.num_anchors, outputs, bias)
            said = AnchorHead(*settings, dtype=self.dtype, name=name)(maps, train=train)
            taps |= {f"{name}{level}": x for level, x in zip(self.levels, said, strict=True)}
        return taps

    def check(self, height: int, width: int) -> None:
        first, last = self.levels[0], self.levels[-1]
        if self.levels != tuple(range(first, last + 1)) or not (
            FIRST_LEVEL <= first <= LAST_STAGE_LEVEL
        ):
            raise UsageError(
                f"levels of a detector must follow each other from {FIRST_LEVEL} to "
                f"{LAST_STAGE_LEVEL} on, not {self.levels}"
            )
        if height % 2**last or width % 2**last:
            raise UsageError(
                f"a detector with level {last} needs pictures whose sides are multiples of {2**last}, "
                f"not {height} x {width}: give the view another size, or the encoder fewer levels"
            )


class SmallDetectorAudio(SmallDetectorVideo):
    """`SmallDetectorVideo` that hears: boxes in a picture it does not see.

    As in MM-DistillNet a spectrogram with a channel for each microphone is resized (bicubic) to
    the size of a picture, `height` x `width`, frequency becoming its rows and time its columns, and
    treated like one. Two channels make the student of StereoSoundNet (Gan et al. 2019), whose own
    layers are not published. Departure: resized by Keys' kernel with antialiasing, as JAX does.
    """

    height: int = 64
    width: int = 64

    modality = "audio"

    @nn.compact
    def __call__(
        self, x: Float[Array, "b t f c"], *, train: bool, rows: Int[Array, "b"] | None = None
    ) -> Features:
        picture = x.swapaxes(1, 2).astype(self.dtype)
        size = (len(x), self.height, self.width, x.shape[-1])
        taps = self.on_pictures(jax.image.resize(picture, size, "cubic"), train)
        embedding = taps[f"level{self.levels[-1]}"].mean(axis=(1, 2))
        return Features(embedding=embedding, map=taps[f"level{self.levels[0]}"], taps=taps)


def anchor_outputs(
    taps: dict[str, Float[Array, "*leading _ _ _"]], levels: Sequence[int], *, num_anchors: int = 9
) -> tuple[Float[Array, "*leading a k"], Float[Array, "*leading a 4"]]:
    """Class logits and offsets of all anchors of a detector's `taps`, in the order of the anchors."""

    def by_anchor(name: str) -> Array:
        maps = [taps[f"{name}{level}"] for level in levels]
        rows = [x.reshape(*x.shape[:-3], -1, x.shape[-1] // num_anchors) for x in maps]
        return jnp.concatenate(rows, axis=-2)

    return by_anchor("classes"), by_anchor("offsets")


def levels_of(taps: Mapping[str, Array]) -> tuple[int, ...]:
    """The levels of a detector's `taps`; none of another encoder's."""
    names = (name.removeprefix("classes") for name in taps if name.startswith("classes"))
    return tuple(sorted(int(level) for level in names if level.isdigit()))


def level_attention(taps: Mapping[str, Array]) -> list[Float[Array, "b *time _ _"]]:
    """Where each level of the pyramid is active: the mean over channels of its squares."""
    return [jnp.mean(taps[f"level{level}"] ** 2, axis=-1) for level in levels_of(taps)]


def flat_attention(taps: Mapping[str, Array]) -> Float[Array, "b n"]:
    """All levels of it, one after the other."""
    levels = level_attention(taps)
    return jnp.concatenate([level.reshape(len(level), -1) for level in levels], axis=1)
