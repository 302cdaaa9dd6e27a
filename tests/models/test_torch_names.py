import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from avssl.errors import UsageError
from avssl.models import torch_names
from avssl.models.cnn14 import Cnn14
from avssl.models.conv2d10 import Conv2D10
from avssl.models.detr import DetrResNet50Video
from avssl.models.heads import ProjectionMLP
from avssl.models.r2plus1d import R2Plus1D18
from avssl.models.resnet2d import (
    ResNet9Audio,
    ResNet18Audio,
    ResNet18Video,
    ResNet34Audio,
    ResNet50Audio,
    ResNet50Video,
)
from avssl.models.soundnet import SlotClassifiers, SoundNet5, SoundNet8
from avssl.models.speaker import SpeakerResNet34
from avssl.models.torch_names import CNN14_UNREAD, from_torch, to_torch, under
from avssl.models.vgg import Vgg16Video, VggishAudio
from avssl.models.video_resnet import MC318, TorchvisionR2Plus1D18

WIDTHS = (2, 3, 4, 5)
CASES = {
    "r2plus1d18": (R2Plus1D18(widths=WIDTHS), torch_names.r2plus1d18(), (1, 2, 8, 8, 3)),
    "one block a stage": (
        R2Plus1D18(widths=WIDTHS, blocks=(1, 1, 1, 1)),
        torch_names.r2plus1d18((1, 1, 1, 1)),
        (1, 2, 8, 8, 3),
    ),
    "conv2d10": (Conv2D10(widths=WIDTHS), torch_names.conv2d10(), (1, 16, 16, 1)),
    "r2plus1d18_torchvision": (
        TorchvisionR2Plus1D18(widths=WIDTHS),
        torch_names.video_resnet(factored=True),
        (1, 2, 8, 8, 3),
    ),
    "mc3_18": (MC318(widths=WIDTHS), torch_names.video_resnet(factored=False), (1, 2, 8, 8, 3)),
    "resnet18_audio": (ResNet18Audio(widths=WIDTHS), torch_names.resnet2d(), (1, 16, 16, 1)),
    "resnet9_audio": (
        ResNet9Audio(widths=WIDTHS),
        torch_names.resnet2d((1, 1, 1, 1), frequency_first=True),
        (1, 16, 16, 1),
    ),
    "resnet50_video": (
        ResNet50Video(widths=WIDTHS),
        torch_names.resnet2d((3, 4, 6, 3), bottleneck=True),
        (1, 1, 16, 16, 3),
    ),
    "cnn14": (Cnn14(widths=WIDTHS, embedding_size=6), torch_names.cnn14(4), (1, 16, 16, 1)),
    "detr": (
        DetrResNet50Video(widths=WIDTHS, transformer_width=8, hidden=6, num_heads=2, num_queries=3),
        torch_names.detr(),
        (1, 1, 16, 16, 3),
    ),
    "soundnet8": (SoundNet8(), torch_names.soundnet(), (1, 11025, 1, 1)),
    "soundnet5": (SoundNet5(), torch_names.soundnet(4), (1, 4000, 1, 1)),
    "speaker_resnet34": (
        SpeakerResNet34(widths=WIDTHS, embedding_size=6),
        torch_names.speaker_resnet34(),
        (1, 16, 16, 1),
    ),
    "vgg16_video": (
        Vgg16Video(widths=(2, 3), layers=(2, 3), linear=(5, 4)),
        torch_names.vgg16((2, 3), num_linear=2, grid=(3, 2)),
        (1, 1, 12, 8, 3),
    ),
    "vggish_audio": (VggishAudio(widths=WIDTHS), torch_names.vggish(), (1, 16, 16, 1)),
    "projection": (ProjectionMLP((5, 4, 3)), torch_names.projection(3), (1, 6)),
}


def random_variables(module, shape):
    x = jnp.zeros(shape)
    abstract = jax.eval_shape(lambda x: module.init(jax.random.key(0), x, train=False), x)
    random = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: random.normal(size=leaf.shape).astype(np.float32), abstract)


@pytest.mark.parametrize("case", CASES)
def test_every_variable_goes_out_and_comes_back(case):
    module, table, shape = CASES[case]
    variables = random_variables(module, shape)
    state = to_torch(table, variables)
    assert len(state) == len(jax.tree.leaves(variables)) == len(table)
    counters = {"conv1.1.num_batches_tracked": np.array(3)}
    back = from_torch(table, state | counters)
    assert flatten_dict(back).keys() == flatten_dict(variables).keys()
    jax.tree.map(np.testing.assert_array_equal, back, variables)


def official_shapes(module, shape, table):
    """Shapes in a state_dict of arrays that are never made."""
    x = jax.ShapeDtypeStruct(shape, jnp.float32)
    abstract = jax.eval_shape(lambda x: module.init(jax.random.key(0), x, train=False), x)
    # One number that is seen everywhere takes no memory.
    seen = jax.tree.map(lambda leaf: np.broadcast_to(np.float32(0), leaf.shape), abstract)
    return {key: array.shape for key, array in to_torch(table, seen).items()}


# Some of each kind, as the releases and torchvision give them.
OFFICIAL = (
    (
        ResNet18Video(),
        (1, 1, 64, 64, 3),
        torch_names.resnet2d(),
        {"conv1.weight": (64, 3, 7, 7), "layer2.0.downsample.0.weight": (128, 64, 1, 1)},
    ),
    (
        ResNet34Audio(),
        (1, 64, 64, 1),
        torch_names.resnet2d((3, 4, 6, 3)),
        {"conv1.weight": (64, 1, 7, 7), "layer3.5.conv2.weight": (256, 256, 3, 3)},
    ),
    (
        ResNet50Audio(),
        (1, 64, 64, 3),
        torch_names.resnet2d((3, 4, 6, 3), bottleneck=True),
        {
            "layer1.0.downsample.0.weight": (256, 64, 1, 1),
            "layer1.0.conv2.weight": (64, 64, 3, 3),
            "layer4.2.conv3.weight": (2048, 512, 1, 1),
            "layer4.2.bn3.running_var": (2048,),
        },
    ),
    (
        Cnn14(embedding_size=512),
        (1, 64, 64, 1),
        torch_names.cnn14(),
        {
            "bn0.weight": (64,),
            "conv_block1.conv1.weight": (64, 1, 3, 3),
            "conv_block6.bn2.running_mean": (2048,),
            "fc1.weight": (512, 2048),
            "fc1.bias": (512,),
        },
    ),
    (
        DetrResNet50Video(),
        (1, 1, 64, 64, 3),
        torch_names.detr(),
        {
            "backbone.0.body.conv1.weight": (64, 3, 7, 7),
            "backbone.0.body.layer4.2.bn3.running_var": (2048,),
            "input_proj.weight": (256, 2048, 1, 1),
            "query_embed.weight": (100, 256),
            "transformer.encoder.layers.5.self_attn.in_proj_weight": (768, 256),
            "transformer.encoder.layers.5.norm2.bias": (256,),
            "transformer.decoder.layers.0.multihead_attn.in_proj_bias": (768,),
            "transformer.decoder.layers.5.multihead_attn.out_proj.weight": (256, 256),
            "transformer.decoder.layers.5.linear1.weight": (2048, 256),
            "transformer.decoder.layers.5.norm3.weight": (256,),
            "transformer.decoder.norm.bias": (256,),
            "class_embed.weight": (92, 256),
            "bbox_embed.layers.2.weight": (4, 256),
        },
    ),
    (
        SoundNet8(),
        (1, 11025, 1, 1),
        torch_names.soundnet(),
        {
            "conv1.weight": (16, 1, 64, 1),
            "conv1.bias": (16,),
            "batchnorm7.running_var": (1024,),
            "conv7.weight": (1024, 512, 4, 1),
        },
    ),
    (
        SpeakerResNet34(),
        (1, 64, 80, 1),
        torch_names.speaker_resnet34(),
        {
            "conv1.weight": (32, 1, 3, 3),
            "layer4.0.shortcut.1.bias": (256,),
            "seg_1.weight": (256, 5120),
        },
    ),
    (
        Vgg16Video(linear=(4096, 4096)),
        (1, 1, 224, 224, 3),
        torch_names.vgg16(num_linear=2),
        {
            "features.0.weight": (64, 3, 3, 3),
            "features.10.weight": (256, 128, 3, 3),
            "features.28.bias": (512,),
            "classifier.0.weight": (4096, 25088),
            "classifier.3.weight": (4096, 4096),
        },
    ),
    (
        VggishAudio(),
        (1, 96, 64, 1),
        torch_names.vggish(),
        {
            "features.0.weight": (64, 1, 3, 3),
            "features.8.weight": (256, 256, 3, 3),
            "features.13.bias": (512,),
        },
    ),
)


@pytest.mark.parametrize(("module", "shape", "table", "expected"), OFFICIAL)
def test_names_and_shapes_are_the_official_ones(module, shape, table, expected):
    shapes = official_shapes(module, shape, table)
    assert {key: shapes[key] for key in expected} == expected


def test_classifiers_of_soundnet():
    heads = SlotClassifiers({"objects": 1000, "scenes": 401})
    x = jax.ShapeDtypeStruct((2, 15, 1, 1024), jnp.float32)
    logits, variables = jax.eval_shape(lambda x: heads.init_with_output(jax.random.key(0), x), x)
    assert {name: leaf.shape for name, leaf in logits.items()} == {
        "objects": (2, 4, 1000),
        "scenes": (2, 4, 401),
    }
    table = torch_names.soundnet_classifiers()
    leaves = flatten_dict(variables)
    assert leaves.keys() == {entry.path for entry in table}
    assert leaves["params", "scenes", "kernel"].shape == (8, 1, 1024, 401)


def test_layouts():
    module, table, shape = CASES["r2plus1d18"]
    variables = random_variables(module, shape)
    kernel = variables["params"]["conv3x_0"]["shortcut"]["kernel"]
    weight = to_torch(under("video_model", (), table), variables)[
        "video_model.conv3x.0.res_conv.weight"
    ]
    assert weight.shape == (3, 2, 1, 1, 1)
    np.testing.assert_array_equal(weight[:, :, 0, 0, 0], kernel[0, 0, 0].T)


def test_under_nests_both_names():
    _, table, _ = CASES["projection"]
    (first, *_) = under("audio_proj", ("heads", "audio"), table)
    assert first.key == "audio_proj.projection.0.weight"
    assert first.path == ("params", "heads", "audio", "linear1", "kernel")


def test_a_checkpoint_of_another_model_is_refused():
    module, table, shape = CASES["conv2d10"]
    state = to_torch(table, random_variables(module, shape))
    with pytest.raises(UsageError, match=r"lacks 'conv1\.0\.weight' \(1 of 45 missing\)"):
        from_torch(table, {key: state[key] for key in state if key != "conv1.0.weight"})
    with pytest.raises(UsageError, match=r"holds 'fc\.weight'"):
        from_torch(table, state | {"fc.weight": np.zeros(3)})


def test_keys_that_nobody_reads():
    module, table, shape = CASES["cnn14"]
    state = to_torch(table, random_variables(module, shape))
    more = state | {"fc_audioset.weight": np.zeros(3), "logmel_extractor.melW": np.zeros(3)}
    back = from_torch(table, more, unread=CNN14_UNREAD)
    assert len(jax.tree.leaves(back)) == len(state)
    with pytest.raises(UsageError, match=r"holds 'fc_audioset\.weight'"):
        from_torch(table, more, unread=("logmel_extractor.",))
