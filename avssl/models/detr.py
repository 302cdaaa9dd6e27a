"""DETR: a set of objects in a picture and, of each, where the network looks to find it."""

import math
from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float, Int

from avssl.errors import UsageError
from avssl.models.convolution import TORCH_UNIFORM, Conv
from avssl.models.features import Features
from avssl.models.precision import parameter_dtype
from avssl.models.resnet2d import ResNet50Video
from avssl.models.transformer import XAVIER, attention_weights, check_heads

TEMPERATURE = 10_000
# Keeps the released positions from dividing by zero where all is padding.
POSITION_EPSILON = 1e-6
ZEROS = nn.initializers.zeros


class Detections(NamedTuple):
    """What is found in each picture, by query: `states` of the decoder, `logits` with "no object" last, `boxes`
    (centre x and y, width and height, as shares of the picture's sides), and `attention` to each position in
    the decoder's last layer, the mean of its heads. `taps` are layers before the queries, on their grids."""

    states: Float[Array, "n q d"]
    logits: Float[Array, "n q c"]
    boxes: Float[Array, "n q 4"]
    attention: Float[Array, "n q h w"]
    taps: dict[str, Float[Array, "n _ _ _"]]


class Attention(nn.Module):
    """torch's `MultiheadAttention`, whose first array projects queries, keys and values; and its weights."""

    num_heads: int
    dtype: DTypeLike

    @nn.compact
    def __call__(
        self, query: Float[Array, "n q d"], key: Float[Array, "n k d"], value: Float[Array, "n k d"]
    ) -> tuple[Float[Array, "n q d"], Float[Array, "n heads q k"]]:
        held, width = parameter_dtype(self.dtype), query.shape[-1]
        kernel = self.param("kernel", XAVIER, (width, 3 * width), held).astype(self.dtype)
        bias = self.param("bias", ZEROS, (3 * width,), held).astype(self.dtype)
        parts = zip(jnp.split(kernel, 3, axis=1), jnp.split(bias, 3), strict=True)
        query, key, value = (
            (x @ kernel + bias[None, None]).reshape(*x.shape[:2], self.num_heads, -1)
            for x, (kernel, bias) in zip((query, key, value), parts, strict=True)
        )
        weights = attention_weights(query, key, narrow_scores=False)
        attended = jnp.einsum("bhij,bjhd->bihd", weights, value)
        attended = attended.reshape(*attended.shape[:2], width)
        last = nn.Dense(
            width, kernel_init=XAVIER, dtype=self.dtype, param_dtype=held, name="attended"
        )
        return last(attended), weights


class Layer(nn.Module):
    """Attention to each other, of the decoder's to the `memory` (keys, values) too, and two linear layers: each
    is added to its input and then normalised. Places are added to queries and keys, never to values.

    Beside the output the weights of the last attention.
    """

    num_heads: int
    hidden: int
    dtype: DTypeLike

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "n q d"],
        places: Float[Array, "_ q d"],
        memory: tuple[Float[Array, "n k d"], Float[Array, "n k d"]] | None = None,
    ) -> tuple[Float[Array, "n q d"], Float[Array, "n heads q _"]]:
        held = parameter_dtype(self.dtype)
        attention = partial(Attention, self.num_heads, self.dtype)
        linear = partial(nn.Dense, kernel_init=XAVIER, dtype=self.dtype, param_dtype=held)
        norm = partial(layer_norm, self.dtype)
        seen, weights = attention(name="self_attention")(x + places, x + places, x)
        x = norm("self_attention_norm")(x + seen)
        if memory is not None:
            seen, weights = attention(name="cross_attention")(x + places, *memory)
            x = norm("cross_attention_norm")(x + seen)
        hidden = nn.relu(linear(self.hidden, name="expanded")(x))
        hidden = linear(x.shape[-1], name="reduced")(hidden)
        return norm("output_norm")(x + hidden), weights


class DetrResNet50Video(nn.Module):
    """DETR with ResNet-50, on each frame by itself: the teacher that AVL's object map comes from.

    Carion et al. 2020 (ECCV, arXiv 2005.12872; code: facebookresearch/detr, `detr_resnet50`): 100 learnt
    queries look through 6 layers at what 6 layers make of the map of stride 32, and each names a class of COCO
    (91 numbers, of which 80 are used, and "no object") and a box. Layers are post-norm, with ReLU; positions
    are sines of rows and columns, scaled to the picture's height and width. Pictures are normalised by
    ImageNet's statistics as the front end `rgb` does, and as large as AVL's, 800 pixels, of which the map has
    25 x 25 positions.

    The map [batch, frames, height, width, 1] is the mean attention, in the decoder's last layer and over its
    heads, of the queries whose best class has a probability above `threshold`: its sum is 1. Zeros where no
    query has: nothing was found. The embedding is the plain mean of the decoder's states over all queries,
    and over frames. Taps: the ResNet's `layer1` to `layer4` and stem, and the encoder's `memory`. `detect`
    gives classes, boxes and the attention of each query.

    threshold: 0.7 is that of DETR's notebook and of a comment in AVL's code, whose test script has 0.3.

    BatchNorm takes its running statistics in training too, as released. Departures: no dropout, as of a frozen
    teacher (0.1 in DETR's training); pictures fill their batch, so nothing is masked as padding; BatchNorm's
    scales and biases, never trained there, are parameters like others.
    """

    widths: tuple[int, ...] = (64, 128, 256, 512)
    blocks: tuple[int, ...] = (3, 4, 6, 3)
    transformer_width: int = 256
    hidden: int = 2048
    num_heads: int = 8
    encoder_depth: int = 6
    decoder_depth: int = 6
    num_queries: int = 100
    num_classes: int = 91
    threshold: float = 0.7
    dtype: DTypeLike = jnp.float32

    modality = "video"
    by_frame = True
    fixed_stages = True

    def __call__(
        self, x: Float[Array, "b *time h w c"], *, train: bool, rows: Int[Array, "b"] | None = None
    ) -> Features:
        if not 0 <= self.threshold < 1:
            raise UsageError(
                f"threshold of DETR is a probability, from 0 to below 1, not {self.threshold}"
            )
        leading = x.shape[:-3]
        found = self.detect(x.reshape(-1, *x.shape[-3:]))

        def by_frame(array: Array) -> Array:
            return array.reshape(*leading, *array.shape[1:])

        return Features(
            embedding=found.states.reshape(len(x), -1, self.transformer_width).mean(axis=1),
            map=by_frame(object_map(found, self.threshold)),
            taps={name: by_frame(tap) for name, tap in found.taps.items()},
        )

    @nn.compact
    def detect(self, x: Float[Array, "n h w c"]) -> Detections:
        width = self.transformer_width
        check_heads(width, self.num_heads)
        if self.decoder_depth < 1:
            raise UsageError("DETR looks through its decoder: decoder_depth must be at least 1")
        if width % 4:
            raise UsageError(
                f"transformer_width of DETR holds a sine and a cosine of each axis: {width} is no multiple of 4"
            )
        backbone = ResNet50Video(self.widths, self.blocks, dtype=self.dtype, name="backbone")
        taps = backbone(x, train=False).taps
        project = Conv(
            width, (1, 1), kernel_init=TORCH_UNIFORM, bias_init=ZEROS, dtype=self.dtype, name="projection"
        )  # fmt: skip
        grid = project(taps[f"layer{len(self.blocks)}"])
        height, across = grid.shape[1:3]
        places = jnp.asarray(sine_positions(height, across, width), self.dtype)[None]

        layer = partial(Layer, self.num_heads, self.hidden, self.dtype)
        memory = grid.reshape(len(x), -1, width)
        for number in range(self.encoder_depth):
            memory, _ = layer(name=f"encoder{number}")(memory, places)

        held = parameter_dtype(self.dtype)
        shape = (self.num_queries, width)
        queries = self.param("queries", nn.initializers.normal(1.0), shape, held)
        queries = queries.astype(self.dtype)[None]
        states = jnp.zeros((len(x), *shape), self.dtype)
        for number in range(self.decoder_depth):
            decoder = layer(name=f"decoder{number}")
            states, weights = decoder(states, queries, (memory + places, memory))
        states = layer_norm(self.dtype, "norm")(states)

        head = partial(nn.Dense, kernel_init=TORCH_UNIFORM, dtype=self.dtype, param_dtype=held)
        box = nn.relu(head(width, name="box0")(states))
        box = nn.relu(head(width, name="box1")(box))
        return Detections(
            states=states,
            logits=head(self.num_classes + 1, name="classes")(states),
            boxes=nn.sigmoid(head(4, name="box2")(box)),
            attention=weights.mean(axis=1).reshape(*states.shape[:2], height, across),
            taps=taps | {"memory": memory.reshape(grid.shape)},
        )


def object_map(found: Detections, threshold: float) -> Float[Array, "n h w 1"]:
    """The mean attention of the queries that are surer than `threshold` of an object; zeros without any."""
    wide = parameter_dtype(found.logits.dtype)
    best = jnp.max(nn.softmax(found.logits.astype(wide))[..., :-1], axis=-1)
    sure = (best > threshold).astype(wide)
    total = jnp.einsum("nq,nqhw->nhw", sure, found.attention.astype(wide))
    mean = total / jnp.maximum(jnp.sum(sure, axis=1), 1)[:, None, None]
    return mean[..., None].astype(found.attention.dtype)


def sine_positions(height: int, width: int, channels: int) -> np.ndarray:
    """[height * width, channels]: of the row, then of the column, sines and cosines in turn."""
    half = np.arange(channels // 2)
    rates = TEMPERATURE ** -(2 * (half // 2) / len(half))

    def waves(size: int) -> np.ndarray:
        shares = np.arange(1, size + 1) / (size + POSITION_EPSILON)
        angles = np.outer(2 * math.pi * shares, rates)
        return np.where(half % 2, np.cos(angles), np.sin(angles))

    rows, columns = np.repeat(waves(height), width, axis=0), np.tile(waves(width), (height, 1))
    return np.concatenate([rows, columns], axis=1)


def layer_norm(dtype: DTypeLike, name: str) -> nn.LayerNorm:
    """PyTorch's."""
    return nn.LayerNorm(
        epsilon=1e-5,
        use_fast_variance=False,
        dtype=dtype,
        param_dtype=parameter_dtype(dtype),
        name=name,
    )
