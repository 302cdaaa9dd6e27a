"""Save and restore: what goes in comes out, on any devices, and the folder stays in order."""

import errno
import functools
import json
import os

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from avssl.errors import AvsslError, UsageError
from avssl.train.checkpoint import Checkpoints, read_checkpoint
from avssl.train.checkpoint_reader import CheckpointReader


def mesh(num_devices: int) -> Mesh:
    return jax.make_mesh(
        (num_devices,), ("fsdp",), axis_types=(AxisType.Auto,), devices=jax.devices()[:num_devices]
    )


def state(seed: int = 0) -> dict:
    """Every kind of item: an optax tuple of NamedTuples with empty parts, empty dicts, bfloat16."""
    draw = np.random.default_rng(seed)
    params = {
        "video": {"kernel": jnp.asarray(draw.normal(size=(16, 8)), jnp.float32), "empty": {}},
        "audio": {"bias": jnp.asarray(draw.normal(size=(8,)), jnp.bfloat16)},
    }
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.masked(optax.adamw(1e-3), {"video": True, "audio": False}),
    )
    return {
        "params": params,
        "opt_state": optimizer.init(params),
        "batch_stats": {},
        "memory": {"queue": jnp.asarray(draw.integers(0, 9, (8, 3)), jnp.int32), "hole": None},
        "ema": None,
        "counters": {"step": jnp.asarray(seed, jnp.int32)},
    }


def placed(tree, sharding_of):
    return jax.tree.map(lambda leaf: jax.device_put(leaf, sharding_of(leaf)), tree)


def split_first_axis(on: Mesh):
    def sharding(leaf):
        whole = leaf.ndim == 0 or leaf.shape[0] % on.size
        return NamedSharding(on, PartitionSpec() if whole else PartitionSpec("fsdp"))

    return sharding


def assert_same(found, wanted) -> None:
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    for left, right in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        assert left.dtype == right.dtype
        np.testing.assert_array_equal(np.asarray(left), np.asarray(right))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "run" / "checkpoints"


def saved(folder, *steps: int, keep: int = 3) -> None:
    with Checkpoints(folder, keep=keep) as checkpoints:
        for step in steps:
            assert checkpoints.save(step, state(step), {"step": step})


def test_every_item_comes_back_on_fewer_devices(folder):
    many, few, one = mesh(8), mesh(2), mesh(1)
    original = placed(state(), split_first_axis(many))
    with Checkpoints(folder) as checkpoints:
        assert checkpoints.latest() is None
        checkpoints.save(5, original, {"seed": 1})
        checkpoints.wait()
        for devices in (few, one):
            abstract = jax.tree.map(
                lambda leaf, on=devices: jax.ShapeDtypeStruct(
                    leaf.shape, leaf.dtype, sharding=split_first_axis(on)(leaf)
                ),
                original,
            )
            restored = checkpoints.restore(checkpoints.latest(), abstract)
            assert_same(restored, original)
            kernel = restored["params"]["video"]["kernel"]
            assert kernel.sharding.device_set == set(devices.devices.flat)
            assert kernel.addressable_shards[0].data.shape == (16 // devices.size, 8)


def test_back_from_one_device_to_eight(folder):
    saved(folder, 1)
    with Checkpoints(folder) as checkpoints:
        restored = checkpoints.restore(
            checkpoints.latest(), placed(state(), split_first_axis(mesh(8)))
        )
    assert_same(restored, state(1))
    assert len(restored["params"]["video"]["kernel"].sharding.device_set) == 8


def test_a_part_is_read_alone_and_without_a_target(folder):
    saved(folder, 3)
    # What is not asked for need not even be there.
    before = {path.name for path in (folder / "3" / "opt_state").iterdir()}
    assert "manifest.ocdbt" in before
    reader = CheckpointReader(folder)
    assert reader.latest() == 3
    assert_same(reader.restore(3, {"params": state()["params"]})["params"], state(3)["params"])
    host = reader.restore_host(3, ["params", "memory"])
    assert isinstance(host["params"]["video"]["kernel"], np.ndarray)
    np.testing.assert_array_equal(
        host["params"]["audio"]["bias"], state(3)["params"]["audio"]["bias"]
    )
    np.testing.assert_array_equal(host["memory"]["queue"], state(3)["memory"]["queue"])
    assert reader.items(3) == ["counters", "memory", "meta", "opt_state", "params"]
    assert reader.meta(3) == {"step": 3}


def test_parameters_of_another_run(folder):
    saved(folder, 3, 4)
    step, items = read_checkpoint(folder, ("params", "batch_stats"))
    assert step == 4
    assert list(items) == ["params"], "batch_stats held no arrays"
    np.testing.assert_array_equal(
        items["params"]["video"]["kernel"], state(4)["params"]["video"]["kernel"]
    )
    with pytest.raises(UsageError, match="holds no checkpoint to start from"):
        read_checkpoint(folder / "nothing", ("params",))


def test_save_returns_before_writing_and_the_arrays_may_be_donated(folder):
    @functools.partial(jax.jit, donate_argnums=0)
    def next_state(tree):
        return jax.tree.map(lambda leaf: leaf + 1, tree)

    tree = {"params": {"w": jnp.zeros((8, 100_000))}, "host": {"n": np.zeros(3)}}
    host = tree["host"]["n"]
    with Checkpoints(folder, keep=9) as checkpoints:
        for step in range(4):
            checkpoints.save(step, tree, {})
            tree["params"] = next_state(tree["params"])
            host += 1
        checkpoints.wait()
        for step in range(4):
            restored = checkpoints.restore_host(step, ["params", "host"])
            assert (restored["params"]["w"] == step).all()
            assert (restored["host"]["n"] == step).all()


def test_typed_keys_and_float64(folder, float64):
    tree = {"draws": {"key": jax.random.key(7)}, "wide": {"x": jnp.full((3,), 1 / 3)}}
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(1, tree, {})
        restored = checkpoints.restore(checkpoints.latest(), tree)
    assert restored["wide"]["x"].dtype == jnp.float64
    np.testing.assert_array_equal(restored["wide"]["x"], tree["wide"]["x"])
    assert jax.random.key_data(restored["draws"]["key"]).tolist() == [0, 7]


def test_the_newest_are_kept_and_foreign_folders_too(folder):
    (folder / "500-mine").mkdir(parents=True)
    (folder / "damaged-7").mkdir()
    (folder / "notes.txt").write_text("mine")
    saved(folder, 1, 2, 3, 4, keep=2)
    assert CheckpointReader(folder).steps() == [3, 4]
    assert {path.name for path in folder.iterdir()} == {
        *("3", "4", "500-mine", "damaged-7", "notes.txt", ".owner")
    }


def test_a_step_is_saved_once_and_older_than_the_latest_is_allowed(folder):
    saved(folder, 10)
    with Checkpoints(folder) as checkpoints:
        assert not checkpoints.save(10, state(99), {})
        assert checkpoints.save(4, state(4), {})  # what Orbax itself would refuse without a word
        assert checkpoints.latest() == 10
        assert_same(checkpoints.restore(4, state()), state(4))


def test_a_folder_where_folders_cannot_be_renamed_is_refused_at_start(folder, monkeypatch):
    """As gcsfuse does by its defaults."""
    rename = os.rename

    def refuse(source, target):
        if os.path.isdir(source) and os.listdir(source):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        rename(source, target)

    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(UsageError, match=r"Too many open files.*rename-dir-limit=200000"):
        Checkpoints(folder)
    assert [path.name for path in folder.iterdir()] == [".owner"]


def test_leftovers_are_removed_at_start(folder):
    saved(folder, 1)
    for name in ("2.orbax-checkpoint-tmp", "2.orbax-checkpoint-tmp-hashing"):
        (folder / name / "params.orbax-checkpoint-tmp").mkdir(parents=True)
    (folder / "mine.orbax-checkpoint-tmp").mkdir()
    CheckpointReader(folder).latest()
    assert (folder / "2.orbax-checkpoint-tmp").exists(), "a reader removes nothing"
    saved(folder, 2)
    assert sorted(path.name for path in folder.glob("*tmp*")) == ["mine.orbax-checkpoint-tmp"]
    assert CheckpointReader(folder).steps() == [1, 2]


def change_shape(tree):
    tree["params"]["video"]["kernel"] = jnp.zeros((16, 9))


def change_dtype(tree):
    tree["params"]["video"]["kernel"] = jnp.zeros((16, 8), jnp.bfloat16)


def change_name(tree):
    tree["params"]["video"]["kernels"] = tree["params"]["video"].pop("kernel")


def drop_leaf(tree):
    del tree["params"]["audio"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (change_shape, "params/video/kernel is float32[16, 8] there and float32[16, 9] here;"),
        (change_dtype, "params/video/kernel is float32[16, 8] there and bfloat16[16, 8] here;"),
        (change_name, "params/video/kernel is float32[16, 8] there and absent here (and 1 more"),
        (drop_leaf, "params/audio/bias is bfloat16[8] there and absent here;"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(folder, change, words):
    saved(folder, 1)
    other = state()
    change(other)
    with pytest.raises(UsageError) as refusal:
        CheckpointReader(folder).restore(1, {"params": other["params"]})
    assert words in str(refusal.value)


def test_a_missing_item_or_step_is_refused_by_name(folder):
    saved(folder, 1)
    reader = CheckpointReader(folder)
    with pytest.raises(UsageError, match="step 1 has no ema \\(it has counters, memory"):
        reader.restore(1, {"ema": state()["params"]})
    with pytest.raises(UsageError, match="no checkpoint of step 2 \\(it has 1\\)"):
        reader.meta(2)
    assert CheckpointReader(folder / "nothing").latest() is None
    with pytest.raises(UsageError, match="bucket"):
        Checkpoints("gs://bucket/run/checkpoints")


def test_meta_must_be_json(folder):
    with Checkpoints(folder) as checkpoints:
        with pytest.raises(TypeError):
            checkpoints.save(1, state(), {"path": folder})
        assert checkpoints.save(1, state(), {"nested": {"a": [1, 2.5, None]}})
        checkpoints.wait()
        assert checkpoints.meta(1) == {"nested": {"a": [1, 2.5, None]}}
    assert json.loads((folder / "1" / "manifest.json").read_text())["files"]


def test_an_error_that_is_not_the_disk_passes_through(folder, monkeypatch):
    def broken(folder):
        raise ZeroDivisionError("a fault of the program")

    monkeypatch.setattr("avssl.train.manifest.write", broken)
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(1, state(), {})
        with pytest.raises(ZeroDivisionError):
            checkpoints.wait()
    assert CheckpointReader(folder).steps() == []
    assert AvsslError.exit_code == 1
