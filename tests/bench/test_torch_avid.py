"""The yardstick in PyTorch does the work of our AVID step: the same parameters, functions and loss."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.bench.avid_sizes import avid_sizes
from avssl.config import load_config, override, resolve
from avssl.losses.avid import avid_loss
from avssl.losses.bank import update_bank
from avssl.models import torch_names
from avssl.models.conv2d10 import Conv2D10
from avssl.models.heads import ProjectionMLP
from avssl.models.r2plus1d import R2Plus1D18
from avssl.train.build_model import build_model

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'avssl[torch]'")

from avssl.bench.torch_avid import AudioEncoder, Avid, Head, VideoEncoder, unit  # noqa: E402
from avssl.bench.torch_step import TorchStep  # noqa: E402

CONFIG = "configs/pretrain/avid.py"


def sizes_of(monkeypatch, variant="", *overrides):
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    config = load_config(f"{CONFIG}{variant}")
    override(config, overrides)
    config = resolve(config)
    model = build_model(config)
    return avid_sizes(config, model), model


def test_each_part_has_as_many_parameters(monkeypatch):
    sizes, model = sizes_of(monkeypatch)
    ours = jax.eval_shape(lambda: model.init(jax.random.key(0)))["params"]
    theirs = Avid(dataclasses.replace(sizes, num_records=2))

    def ours_in(tree):
        return sum(leaf.size for leaf in jax.tree.leaves(tree))

    def theirs_in(module):
        return sum(parameter.numel() for parameter in module.parameters())

    heads = ours["objectives"]["avid"]
    assert ours_in(ours["encoders"]["video"]) == theirs_in(theirs.video)
    assert ours_in(ours["encoders"]["audio"]) == theirs_in(theirs.audio)
    assert ours_in(heads["video_head"]) == theirs_in(theirs.video_head)
    assert ours_in(heads["audio_head"]) == theirs_in(theirs.audio_head)
    assert ours_in(ours) == theirs_in(theirs)
    assert sizes.video == (8, 224, 224, 3)
    assert (sizes.num_negatives, sizes.num_records) == (1024, 232_067)


def theirs_of(module, table, variables):
    """The module with our variables."""
    state = torch_names.to_torch(table, jax.tree.map(np.asarray, variables))
    held = {name: torch.from_numpy(array.copy()) for name, array in state.items()}
    missing, unexpected = module.load_state_dict(held, strict=False)
    assert not unexpected
    assert all(name.endswith(torch_names.IGNORED_SUFFIX) for name in missing)
    return module


SMALL = (4, 8, 8, 16)
PARTS = {
    "video": (
        R2Plus1D18(blocks=(1, 2, 1, 1), widths=SMALL),
        lambda: VideoEncoder((1, 2, 1, 1), SMALL),
        torch_names.r2plus1d18((1, 2, 1, 1)),
        (2, 4, 32, 32, 3),
    ),
    "audio": (
        Conv2D10(widths=SMALL),
        lambda: AudioEncoder(1, SMALL, (2, 2, 2, 1)),
        torch_names.conv2d10(),
        (2, 40, 33, 1),
    ),
    "head": (
        ProjectionMLP((8, 8, 4)),
        lambda: Head(6, (8, 8, 4)),
        torch_names.projection(),
        (3, 6),
    ),
}


@pytest.mark.parametrize("part", PARTS)
def test_each_part_computes_the_same(part):
    ours, make, table, shape = PARTS[part]
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    variables = ours.init(jax.random.key(0), jnp.asarray(x), train=False)
    expected, _ = ours.apply(variables, jnp.asarray(x), train=True, mutable=["batch_stats"])
    expected = getattr(expected, "embedding", expected)
    theirs = theirs_of(make(), table, variables)
    with torch.no_grad():
        found = theirs(
            torch.from_numpy(x).movedim(-1, 1) if len(shape) > 2 else torch.from_numpy(x)
        )
    np.testing.assert_allclose(found.numpy(), np.asarray(expected), rtol=1e-3, atol=1e-4)


def test_loss_and_banks_are_the_same(monkeypatch):
    sizes, _ = sizes_of(monkeypatch, ":quicktest")
    sizes = dataclasses.replace(sizes, num_records=20, num_negatives=7)
    theirs = Avid(sizes)
    generator = np.random.default_rng(0)
    dim = sizes.projection[-1]
    video, audio = jnp.asarray(generator.normal(size=(2, 3, dim)), jnp.float32)
    index, negatives = jnp.array([4, 0, 19]), jnp.asarray(generator.integers(0, 20, (3, 7)))
    banks = [jnp.asarray(bank.numpy().copy()) for bank in (theirs.video_bank, theirs.audio_bank)]
    present = jnp.ones(3, bool)
    loss, partition, _ = avid_loss(
        video, audio, video_bank=banks[0], audio_bank=banks[1], index=index, negatives=negatives,
        partition=jnp.zeros(()), present=present, temperature=sizes.temperature,
    )  # fmt: skip
    given = [torch.from_numpy(np.array(one)) for one in (video, audio)]
    places, drawn = (torch.from_numpy(np.array(one)).long() for one in (index, negatives))
    found = theirs.loss(*given, places, drawn)
    np.testing.assert_allclose(found.item(), float(loss), rtol=1e-5)
    np.testing.assert_allclose(theirs.partition.item(), float(partition), rtol=1e-5)
    theirs.remember(*given, places)
    expected = update_bank(
        banks[0], video, index=index, momentum=sizes.bank_momentum, present=present
    )
    np.testing.assert_allclose(theirs.video_bank.numpy(), np.asarray(expected), atol=1e-6)


def test_a_step_learns_and_its_negatives_are_other_records(monkeypatch):
    few = ("data.num_records", "30"), ("objectives.avid.num_negatives", "16")
    sizes, _ = sizes_of(monkeypatch, ":quicktest", ("precision", "float32"), *few)
    step = TorchStep(sizes, num_threads=1)
    drawn = step.negatives()
    assert drawn.shape == (sizes.batch, 16)
    assert (drawn != step.index[:, None]).all()
    assert drawn.min() >= 0
    assert drawn.max() < 30
    assert torch.allclose(unit(step.avid.video_bank), step.avid.video_bank)
    losses = [step() for _ in range(20)]
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]
    assert str(step) == f"PyTorch {torch.__version__}, float32, eager, 1 threads"
