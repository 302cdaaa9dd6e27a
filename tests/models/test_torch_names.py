import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from avssl.errors import UsageError
from avssl.models import torch_names
from avssl.models.conv2d10 import Conv2D10
from avssl.models.heads import ProjectionMLP
from avssl.models.r2plus1d import R2Plus1D18
from avssl.models.resnet2d import ResNet9Audio, ResNet18Audio
from avssl.models.torch_names import from_torch, to_torch, under
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
