"""CMA: when positives are mined and from what, what it takes over from AVID, and how its memory is split."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from avssl.config import load_config
from avssl.errors import UsageError
from avssl.objectives import build_objective, cma
from avssl.objectives.base import Owned
from avssl.train.build_model import build_model
from avssl.train.checkpoint_reader import read_checkpoint
from avssl.train.mesh import make_mesh
from avssl.train.run import build_setup, fresh_state
from avssl.train.start import continued, fresh_memory, graft
from tests.train.small_runs import small_config

NUM_RECORDS, DIM, NUM_POSITIVES = 24, 4, 5
SMALL = ("num_negatives=10", "projection=8,4")


def objective(step=None, **keys):
    keys = {
        "num_negatives": 10, "projection": (DIM,), "num_positives": NUM_POSITIVES,
        "num_negatives_within": 3, **keys,
    }  # fmt: skip
    return build_objective("cma", keys, NUM_RECORDS, step)


def banks():
    random = np.random.default_rng(0)
    rows = random.standard_normal((2, NUM_RECORDS, DIM)).astype(np.float32)
    video, audio = rows / np.linalg.norm(rows, axis=-1, keepdims=True)
    return {"video_bank": video, "audio_bank": audio}


def expected_positives(memory):
    """Record by record in numpy."""
    likeness = np.minimum(*(memory[bank] @ memory[bank].T for bank in ("video_bank", "audio_bank")))
    np.fill_diagonal(likeness, -np.inf)
    return np.sort(np.argsort(-likeness, axis=1)[:, :NUM_POSITIVES], axis=1)


def refreshed(memory, **keys):
    owned = Owned({}, {name: jnp.asarray(bank) for name, bank in memory.items()})
    new = objective(**keys).refresh(owned, {}, jnp.zeros((0,), bool), 0, jax.random.key(0))
    return np.asarray(new.memory["positive_set"])


@pytest.mark.parametrize("at_once", [1, 5 * NUM_RECORDS, cma.COSINES_AT_ONCE])
def test_positives_are_mined_in_chunks_of_any_size(at_once, monkeypatch):
    monkeypatch.setattr(cma, "COSINES_AT_ONCE", at_once)
    cma.positives_of_all.clear_cache()
    np.testing.assert_array_equal(refreshed(banks()), expected_positives(banks()))


@pytest.mark.parametrize("axis", [0, 1], ids=["rows split", "columns split"])
def test_positives_are_mined_on_a_mesh(axis):
    """24 records over 8 devices that hold a part of the banks each."""
    place = NamedSharding(make_mesh(fsdp=4), PartitionSpec(*[None] * axis, "fsdp"))
    memory = {name: jax.device_put(bank, place) for name, bank in banks().items()}
    np.testing.assert_array_equal(refreshed(memory), expected_positives(banks()))


def test_banks_of_equal_rows_still_give_distinct_positives():
    rows = np.tile(np.eye(DIM, dtype=np.float32)[:1], (NUM_RECORDS, 1))
    found = refreshed({"video_bank": rows, "audio_bank": rows})
    for record, positives in enumerate(found):
        assert len(set(positives.tolist()) - {record}) == NUM_POSITIVES


def test_what_agrees_and_whether_the_nearest_is_the_record_are_flags():
    memory = banks()
    of_video = {"video_bank": memory["video_bank"], "audio_bank": memory["video_bank"]}
    found = refreshed(memory, agreement="video")
    np.testing.assert_array_equal(found, expected_positives(of_video))
    # Record 7 looks and sounds like record 2, which comes first.
    twins = {name: np.concatenate([b[:7], b[2:3], b[8:]]) for name, b in memory.items()}
    assert 7 not in refreshed(twins)[7]
    assert 7 in refreshed(twins, drop_nearest=True)[7]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("temperature", 0.2), ("num_negatives_within", 10), ("skip_self", False),
        ("cross_instance", 0.5), ("within_instance", 1.0), ("cross_positives", 1.0),
        ("within_positives", 0.5),
    ],
)  # fmt: skip
def test_each_setting_reaches_the_loss(key, value):
    memory = with_positives()
    changed, default = (outcome_of(objective(**keys), memory)[0] for keys in ({key: value}, {}))
    assert abs(changed.loss - default.loss) > 1e-3


def test_the_released_within_instance_group_is_a_flag():
    terms = {
        released: outcome_of(
            objective(within_instance=1.0, released_within_instance=released), with_positives()
        )[0].metrics.keys()
        for released in (False, True)
    }
    assert terms[False] - terms[True] == {"instance_video_to_video", "instance_audio_to_audio"}


def with_positives():
    positive_set = jnp.asarray(expected_positives(banks()), jnp.int32)
    return {"partition": jnp.zeros((), jnp.float32), **banks(), "positive_set": positive_set}


def test_mined_at_the_start_and_on_schedule():
    one = objective(refresh_every_steps=100)
    assert [step for step in range(301) if one.refresh_due(step)] == [0, 100, 200, 300]
    later = objective(refresh_every_steps=100, positives_from_step=50)
    assert [step for step in range(301) if later.refresh_due(step)] == [50, 150, 250]
    assert later.stage_steps() == (50,)


def outcome_of(one, memory):
    outputs = {name[:5]: jnp.asarray(bank[:6]) + 0.5 for name, bank in banks().items()}
    batch = {
        "index": jnp.array([3, 9, 3, 0, 15, 7], jnp.int32),
        "row": jnp.arange(6, dtype=jnp.int32),
        "present": {name: jnp.ones(6, bool) for name in ("video", "audio")},
    }

    @jax.jit
    def applied(memory):
        return one.apply(
            {"memory": memory}, outputs, batch, train=True,
            rngs={"draw": jax.random.key(0)}, mutable=["memory"],
        )  # fmt: skip

    return applied(memory)


def test_before_its_positives_it_is_avid():
    agreeing = with_positives()
    shared = {name: array for name, array in agreeing.items() if name != "positive_set"}
    avid = build_objective("avid", {"num_negatives": 10, "projection": (DIM,)}, NUM_RECORDS)
    alone, memory = outcome_of(avid, shared)
    keys = {"positives_from_step": 50}
    early, early_memory = outcome_of(objective(49, **keys), agreeing)
    late, _ = outcome_of(objective(50, **keys), agreeing)
    assert early.loss == alone.loss
    for name, array in memory["memory"].items():
        np.testing.assert_array_equal(early_memory["memory"][name], array)
    assert "positives_video_to_video" not in early.metrics
    groups = [
        np.mean([late.metrics[f"{kind}_to_{other}"] for kind, other in pairs])
        for pairs in (
            (("instance_video", "audio"), ("instance_audio", "video")),
            (("positives_video", "video"), ("positives_audio", "audio")),
        )
    ]
    np.testing.assert_allclose(late.loss, np.mean(groups), rtol=1e-6)


@pytest.mark.parametrize(
    ("num_records", "keys", "words"),
    [
        (0, {}, r"objectives\.cma .*data\.num_records is 0"),
        (33, {}, r"needs at least 34 \(num_positives=32\)"),
        (40, {"agreement": "consensu"}, "did you mean 'consensus'"),
        (40, {"refresh_every_steps": 0}, "refresh_every_steps must be at least 1"),
        (40, {"num_negatives_within": 0}, "num_negatives_within must be at least 1"),
        (40, {"cross_instance": 0.0, "within_positives": 0.0}, "nor all of them 0"),
        (40, {"cross_instance": 0.0, "positives_from_step": 9}, "only instances are told apart"),
    ],
)
def test_is_refused_before_training(num_records, keys, words):
    config = small_config("cma", precision="float32")
    config.data.num_records = num_records
    config.objectives.cma.update(keys)
    with pytest.raises(UsageError, match=words):
        build_setup(config, build_model(config))


def test_goes_on_from_avid(pretrain, tmp_path):
    """Heads, banks and Z of a finished run."""
    first, second = tmp_path / "avid", tmp_path / "cma"
    common = ("objectives.xid.weight=0", "steps=2", "checkpoint.every_steps=2")
    avid = [f"objectives.avid.{key}" for key in ("weight=1", *SMALL)]
    code, out, _ = pretrain(*common, *avid, workdir=first)
    assert (code, "fresh memory" in out) == (0, False)
    keys = ("weight=1", *SMALL, "num_positives=5", "refresh_every_steps=1")
    command = [*common, *(f"objectives.cma.{key}" for key in keys)]

    code, out, _ = pretrain(*command, f"init_from={first}", workdir=second)
    assert code == 0
    assert "fresh memory" not in out
    assert "left at random" not in out
    items = ("params", "memory")
    (_, before), (_, after) = (
        read_checkpoint(run / "checkpoints", items) for run in (first, second)
    )
    z = before["memory"]["avid"]["partition"]
    assert z == after["memory"]["cma"]["partition"] > 0
    moved = before["memory"]["avid"]["video_bank"] != after["memory"]["cma"]["video_bank"]
    assert 0 < np.sum(np.any(moved, axis=1)) <= 16
    assert after["memory"]["cma"]["positive_set"].shape == (32, 5)


def test_takes_heads_and_memory_by_name():
    """Of `avid`, or rather of `cma` itself; the memory of other objectives stays behind."""

    def state_of(*names):
        config = small_config(*names, precision="float32")
        return build_model(config), fresh_state(build_setup(config, build_model(config)))

    _, trained = state_of("avid", "robust_xid")
    model, state = state_of("cma", "robust_xid")
    given = {
        "params": jax.tree.map(lambda leaf: np.asarray(leaf) + 1, trained.params),
        "memory": jax.tree.map(lambda leaf: np.asarray(leaf) + 1, trained.memory),
        "meta": {"data_fingerprint": "a", "config": {"data": {"source": "there"}}},
    }
    where = Path("there")
    taken = continued(given, model.objectives, "a", where)
    assert fresh_memory(model.objectives, taken) == []
    new, _ = graft(state, taken, where)
    heads, theirs = new.params["objectives"]["cma"], given["params"]["objectives"]["avid"]
    jax.tree.map(np.testing.assert_array_equal, heads, theirs)
    for name in ("video_bank", "audio_bank", "partition"):
        np.testing.assert_array_equal(new.memory["cma"][name], given["memory"]["avid"][name])
    others = new.memory["robust_xid"], state.memory["robust_xid"]
    jax.tree.map(np.testing.assert_array_equal, *others)

    given["memory"]["cma"] = given["memory"]["avid"]
    given["memory"]["avid"] = {}
    assert continued(given, model.objectives, "a", where)["memory"].keys() == {"cma"}
    with pytest.raises(UsageError, match="its 'cma', a row for each record of there"):
        continued(given, model.objectives, "b", where)
    given["memory"] = {}
    nothing = continued(given, model.objectives, "b", where)
    assert fresh_memory(model.objectives, nothing) == [
        "'cma' begins with fresh memory: it is made to go on from a run of cma or avid (init_from)"
    ]


def test_two_million_rows_split_over_the_mesh():
    """The step for 8 devices, compiled from shapes: each holds an eighth of it all and works in place."""
    num_records, dim, num_devices = 2_000_000, 128, 8
    config = small_config("cma", precision="float32")
    config.data.num_records = num_records
    config.parallel.fsdp = num_devices
    config.parallel.rules = load_config("configs/pretrain/cma.py").parallel.rules
    config.batch_size = 256
    model = build_model(config)
    setup = build_setup(config, model)
    abstract = jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        setup.abstract,
        setup.shardings,
    )
    share = 4 * num_records * (2 * dim + 32) / num_devices
    compiled = setup.step.compile(abstract, {}, model.example_batch, config.batch_size)
    memory = compiled.memory_analysis()
    assert share < memory.argument_size_in_bytes < share + 16e6
    assert share < memory.alias_size_in_bytes
    assert memory.temp_size_in_bytes < 64e6
