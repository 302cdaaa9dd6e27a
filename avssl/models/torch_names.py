"""Where each array of an official PyTorch checkpoint lies in ours: tables that read both ways."""

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from avssl.errors import UsageError

# Axes of PyTorch's array in the order of ours.
LAYOUTS = {
    "conv3d": (2, 3, 4, 1, 0),  # out, in, time, height, width -> time, height, width, in, out
    "conv2d": (2, 3, 1, 0),
    # Of a network whose spectrograms have frequency before time; ours have time first.
    "conv2d_frequency_first": (3, 2, 1, 0),
    "linear": (1, 0),
    "rows": (0, 1),
    "vector": (0,),
}

# Step counters of PyTorch's BatchNorm: they change nothing at a fixed momentum.
IGNORED_SUFFIX = ".num_batches_tracked"


class Entry(NamedTuple):
    """One array: its state_dict key, its path in the variables, its layout in PyTorch.

    grid: height and width of the map that a linear layer sees as one vector, with channels first in PyTorch
    and last here; its layout is that of a convolution of that size.
    """

    key: str
    path: tuple[str, ...]
    layout: str
    grid: tuple[int, ...] = ()

    def ours(self, array: np.ndarray) -> np.ndarray:
        axes = LAYOUTS[self.layout]
        if not self.grid:
            return np.transpose(array, axes)
        kernel = np.transpose(array.reshape(len(array), -1, *self.grid), axes)
        return kernel.reshape(-1, len(array))

    def theirs(self, array: np.ndarray) -> np.ndarray:
        axes = np.argsort(LAYOUTS[self.layout])
        if not self.grid:
            return np.transpose(array, axes)
        width = array.shape[-1]
        return np.transpose(array.reshape(*self.grid, -1, width), axes).reshape(width, -1)


Table = tuple[Entry, ...]


def under(key: str, path: tuple[str, ...], *tables: Table) -> Table:
    """Parts' tables, as seen from the whole that holds them at `key` and at `path`."""
    prefix = f"{key}." if key else ""
    return tuple(
        entry._replace(key=prefix + entry.key, path=(entry.path[0], *path, *entry.path[1:]))
        for table in tables
        for entry in table
    )


def _conv(key: str, path: tuple[str, ...], layout: str) -> Table:
    return (Entry(f"{key}.weight", ("params", *path, "kernel"), layout),)


def _norm(key: str, path: tuple[str, ...]) -> Table:
    names = (
        ("weight", "params", "scale"),
        ("bias", "params", "bias"),
        ("running_mean", "batch_stats", "mean"),
        ("running_var", "batch_stats", "var"),
    )
    return tuple(
        Entry(f"{key}.{theirs}", (collection, *path, ours), "vector")
        for theirs, collection, ours in names
    )


def _conv_norm(conv: str, norm: str, name: str, layout: str) -> Table:
    """One `ConvNormRelu`."""
    return _conv(conv, (name, "conv"), layout) + _norm(norm, (name, "norm"))


def r2plus1d_block(*, shortcut: bool) -> Table:
    table = (
        _conv_norm("spt_conv1", "spt_bn1", "spatial1", "conv3d")
        + _conv_norm("tmp_conv1", "tmp_bn1", "temporal1", "conv3d")
        + _conv_norm("spt_conv2", "spt_bn2", "spatial2", "conv3d")
        + _conv("tmp_conv2", ("temporal2",), "conv3d")
        + _norm("out_bn", ("out_norm",))
    )
    return table + _conv("res_conv", ("shortcut",), "conv3d") if shortcut else table


def conv2d_block() -> Table:
    return _conv_norm("conv1", "bn1", "layer1", "conv2d") + _conv_norm(
        "conv2", "bn2", "layer2", "conv2d"
    )


def r2plus1d18(blocks: tuple[int, ...] = (2, 2, 2, 2)) -> Table:
    """AVID's `R2Plus1D(18)`: ours is `R2Plus1D18`."""
    table = _conv_norm("conv1.0", "conv1.1", "stem", "conv3d")
    for stage, num_blocks in enumerate(blocks, start=2):
        for block in range(num_blocks):
            part = r2plus1d_block(shortcut=stage > 2 and block == 0)
            table += under(f"conv{stage}x.{block}", (f"conv{stage}x_{block}",), part)
    return table


def conv2d10() -> Table:
    """AVID's `Conv2D(10)`: ours is `Conv2D10`."""
    table = _conv_norm("conv1.0", "conv1.1", "stem", "conv2d")
    for block in range(1, 5):
        table += under(f"block{block}", (f"conv{block + 1}x",), conv2d_block())
    return table


def _factored(key: str, path: tuple[str, ...]) -> Table:
    """One `FactoredConv`: torchvision's `Conv2Plus1D`, and its stem of the same layers."""
    return (
        _conv(f"{key}.0", (*path, "spatial"), "conv3d")
        + _norm(f"{key}.1", (*path, "spatial_norm"))
        + _conv(f"{key}.3", (*path, "temporal"), "conv3d")
    )


def _residual_stages(
    blocks: tuple[int, ...], plain: Table, shortcut: Table, *, first_shortcut: bool = False
) -> Table:
    """Stages of blocks, the first of each with a shortcut, of the first stage only on request."""
    table: Table = ()
    for stage, num_blocks in enumerate(blocks, start=1):
        for block in range(num_blocks):
            widens = block == 0 and (stage > 1 or first_shortcut)
            part = plain + shortcut if widens else plain
            table += under(f"layer{stage}.{block}", (f"layer{stage}_{block}",), part)
    return table


def _shortcut(layout: str, key: str = "downsample") -> Table:
    return _conv(f"{key}.0", ("shortcut",), layout) + _norm(f"{key}.1", ("shortcut_norm",))


def _bias(key: str, path: tuple[str, ...]) -> Table:
    return (Entry(f"{key}.bias", ("params", *path, "bias"), "vector"),)


def _linear(key: str, path: tuple[str, ...]) -> Table:
    return (Entry(f"{key}.weight", ("params", *path, "kernel"), "linear"), *_bias(key, path))


def video_resnet(blocks: tuple[int, ...] = (2, 2, 2, 2), *, factored: bool) -> Table:
    """torchvision's `r2plus1d_18` (factored), `mc3_18` or `r3d_18`, without the classifier `fc`."""
    conv = _factored if factored else partial(_conv, layout="conv3d")
    stem_conv, stem_norm = ("stem", "stem.4") if factored else ("stem.0", "stem.1")
    table = conv(stem_conv, ("stem",)) + _norm(stem_norm, ("stem_norm",))
    block: Table = ()
    for number in (1, 2):
        block += conv(f"conv{number}.0", (f"conv{number}",))
        block += _norm(f"conv{number}.1", (f"norm{number}",))
    return table + _residual_stages(blocks, block, _shortcut("conv3d"))


def resnet2d(
    blocks: tuple[int, ...] = (2, 2, 2, 2),
    *,
    bottleneck: bool = False,
    frequency_first: bool = False,
    shortcut: str = "downsample",
) -> Table:
    """torchvision's `resnet18`, `resnet34` or `resnet50` without `fc`: ours are in `resnet2d.py`.

    SeLaVi's has frequency first. `blocks` are (3, 4, 6, 3) for the latter two, `bottleneck` is for
    the last.
    """
    layout = "conv2d_frequency_first" if frequency_first else "conv2d"
    table = _conv("conv1", ("conv1",), layout) + _norm("bn1", ("norm1",))
    block: Table = ()
    for number in (1, 2, 3) if bottleneck else (1, 2):
        block += _conv(f"conv{number}", (f"conv{number}",), layout)
        block += _norm(f"bn{number}", (f"norm{number}",))
    return table + _residual_stages(
        blocks, block, _shortcut(layout, shortcut), first_shortcut=bottleneck
    )


def speaker_resnet34(blocks: tuple[int, ...] = (3, 4, 6, 3)) -> Table:
    """WeSpeaker's `ResNet34` with one embedding layer: ours is `SpeakerResNet34`."""
    return resnet2d(blocks, frequency_first=True, shortcut="shortcut") + _linear(
        "seg_1", ("linear",)
    )


def cnn14(num_blocks: int = 6) -> Table:
    """PANNs' `Cnn14` (or `Cnn14_emb512`) without the keys of `CNN14_UNREAD`: ours is `Cnn14`."""
    table = _norm("bn0", ("norm0",))
    for block in range(1, num_blocks + 1):
        for number in (1, 2):
            name = f"block{block}_{number}"
            part = _conv_norm(f"conv{number}", f"bn{number}", name, "conv2d")
            table += under(f"conv_block{block}", (), part)
    return table + _linear("fc1", ("linear",))


# The release's spectrogram as frozen convolutions, and its classifier of 527 tags.
CNN14_UNREAD = ("spectrogram_extractor.", "logmel_extractor.", "fc_audioset.")


def detr(
    blocks: tuple[int, ...] = (3, 4, 6, 3), *, encoder_depth: int = 6, decoder_depth: int = 6
) -> Table:
    """DETR's `detr_resnet50`, as `model` of its checkpoint has it: ours is `DetrResNet50Video`."""
    table = under("backbone.0.body", ("backbone",), resnet2d(blocks, bottleneck=True))
    table += _conv("input_proj", ("projection",), "conv2d") + _bias("input_proj", ("projection",))
    table += (Entry("query_embed.weight", ("params", "queries"), "rows"),)
    sides = (("encoder", encoder_depth, _DETR_ENCODER), ("decoder", decoder_depth, _DETR_DECODER))
    for side, depth, parts in sides:
        layer = _attention("self_attn", ("self_attention",))
        if side == "decoder":
            layer += _attention("multihead_attn", ("cross_attention",))
        for number, name in enumerate(("expanded", "reduced"), start=1):
            layer += _linear(f"linear{number}", (name,))
        for number, name in enumerate(parts, start=1):
            layer += _layer_norm(f"norm{number}", (f"{name}_norm",))
        for number in range(depth):
            table += under(f"transformer.{side}.layers.{number}", (f"{side}{number}",), layer)
    table += _layer_norm("transformer.decoder.norm", ("norm",)) + _linear(
        "class_embed", ("classes",)
    )
    for number in range(3):
        table += _linear(f"bbox_embed.layers.{number}", (f"box{number}",))
    return table


# What its norms follow.
_DETR_ENCODER = ("self_attention", "output")
_DETR_DECODER = ("self_attention", "cross_attention", "output")


def _attention(key: str, path: tuple[str, ...]) -> Table:
    """torch's `MultiheadAttention`."""
    return (
        Entry(f"{key}.in_proj_weight", ("params", *path, "kernel"), "linear"),
        Entry(f"{key}.in_proj_bias", ("params", *path, "bias"), "vector"),
        *_linear(f"{key}.out_proj", (*path, "attended")),
    )


def _layer_norm(key: str, path: tuple[str, ...]) -> Table:
    return (Entry(f"{key}.weight", ("params", *path, "scale"), "vector"), *_bias(key, path))


def soundnet(num_layers: int = 7) -> Table:
    """SoundNet without its classifiers: ours are `SoundNet8` (7) and `SoundNet5` (4).

    The release is a Torch7 `nn.Sequential`, whose modules have numbers and no names. These are the
    names of the usual PyTorch port (keunhong/pytorch-soundnet), and of the eight-layer network's
    converted weights that go around.
    """
    table: Table = ()
    for layer in range(1, num_layers + 1):
        conv = f"conv{layer}"
        table += _conv(conv, (conv,), "conv2d") + _bias(conv, (conv,))
        table += _norm(f"batchnorm{layer}", (f"norm{layer}",))
    return table


def soundnet_classifiers(objects: str = "objects", scenes: str = "scenes") -> Table:
    """The rest of the eight-layer port, by the names its `SlotClassifiers` have here."""
    table: Table = ()
    for key, name in (("conv8_objs", objects), ("conv8_scns", scenes)):
        table += _conv(key, (name,), "conv2d") + _bias(key, (name,))
    return table


def _vgg(layers: tuple[int, ...]) -> Table:
    """Convolutions with biases of an `nn.Sequential`: each and its ReLU have a number, and each pooling."""
    table: Table = ()
    number = 0
    for block, num_layers in enumerate(layers, start=1):
        for layer in range(1, num_layers + 1):
            key, path = f"features.{number}", ("trunk", f"conv{block}_{layer}")
            table += _conv(key, (*path, "conv"), "conv2d") + _bias(key, path)
            number += 2
        number += 1
    return table


def vgg16(
    layers: tuple[int, ...] = (2, 2, 3, 3, 3),
    *,
    num_linear: int = 0,
    grid: tuple[int, int] = (7, 7),
) -> Table:
    """torchvision's `vgg16` without `classifier`: ours is `Vgg16Video`. With `num_linear` 2 it has fc6 and fc7.

    grid: of the last map after its pooling, (7, 7) at 224 px.
    """
    table = _vgg(layers)
    for number in range(num_linear):
        # Between two of them are a ReLU and a dropout.
        part = _linear(f"classifier.{3 * number}", (f"linear{number + 1}",))
        if number == 0:
            part = (part[0]._replace(layout="conv2d", grid=grid), *part[1:])
        table += part
    return table


def vggish(layers: tuple[int, ...] = (1, 1, 2, 2)) -> Table:
    """VGGish without its linear layers `embeddings`: ours is `VggishAudio`.

    The release is one of TensorFlow; these are the names of the usual PyTorch port (harritaylor/torchvggish),
    whose spectrograms have time first, as ours. Its log-mel is not that of any front end here to the digit.
    """
    return _vgg(layers)


def projection(num_layers: int = 3) -> Table:
    """AVID's `Head`: ours is `ProjectionMLP` without BatchNorm."""
    table: Table = ()
    for layer in range(num_layers):
        table += _linear(f"projection.{2 * layer}", (f"linear{layer + 1}",))
    return table


def from_torch(
    table: Table, state: Mapping[str, np.ndarray], unread: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Our variables, {"params": ..., "batch_stats": ...}, from a state_dict of numpy arrays.

    Keys that begin with one of `unread` may be there: torchvision's `fc.`, for one.
    """
    keys = {entry.key for entry in table}
    if missing := sorted(keys - set(state)):
        raise UsageError(
            f"the checkpoint lacks '{missing[0]}' ({len(missing)} of {len(keys)} missing)"
        )
    extra = sorted(
        key
        for key in set(state) - keys
        if not key.endswith(IGNORED_SUFFIX) and not key.startswith(unread)
    )
    if extra:
        raise UsageError(
            f"the checkpoint holds '{extra[0]}' ({len(extra)} such), which the model lacks"
        )
    flat = {entry.path: entry.ours(state[entry.key]) for entry in table}
    return unflatten_dict(flat)


def to_torch(table: Table, variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The state_dict as numpy arrays, of our variables or of gradients in their structure."""
    flat = flatten_dict(variables)
    return {
        entry.key: entry.theirs(np.asarray(flat[entry.path]))
        for entry in table
        if entry.path[0] in variables
    }
