"""Configs: overrides, nearest names, defaults, differences between runs."""

import pytest

from avssl.config import (
    base,
    changed_keys,
    differences,
    load_config,
    override,
    quicktest,
    resolve,
    to_json,
)
from avssl.config.flags import parse_value
from avssl.errors import UsageError

QUICKSTART = "configs/quickstart.py"


def changed(*flags: str):
    config = load_config(QUICKSTART)
    override(config, [tuple(flag.split("=", 1)) for flag in flags])
    return resolve(config)


@pytest.mark.parametrize(
    ("flag", "nearest"),
    [
        ("batchsize=8", "batch_size"),
        ("optimizer.learningrate=1", "optimizer.learning_rate"),
        ("data.souce=world:tiny", "data.source"),
        ("objectives.xdi.weight=1", "xid"),
        ("objectives.xid.temprature=1", "objectives.xid.temperature"),
        ("views.video.fp=1", "views.video.fps"),
        ("precision=float23", "float32"),
        ("parallel.mode=pmesh", "mesh"),
    ],
)
def test_mistyped_key_or_value_names_the_nearest(flag, nearest):
    with pytest.raises(UsageError, match=nearest):
        changed(flag)


@pytest.mark.parametrize(
    "flag", ["seed=abc", "steps=1.5", "data.workers=two", "optimizer.learning_rate=fast"]
)
def test_wrong_type_is_refused(flag):
    with pytest.raises(UsageError, match=flag.split("=")[0]):
        changed(flag)


def test_override_of_types():
    config = changed(
        "seed=3", "optimizer.learning_rate=1", "views.video.flip=false", "eval.protocols=knn,linear"
    )
    assert config.seed == 3
    assert config.optimizer.learning_rate == 1.0
    assert isinstance(config.optimizer.learning_rate, float)
    assert config.views.video.flip is False
    assert tuple(config.eval.protocols) == ("knn", "linear")


def test_keys_that_no_file_names_can_be_set_by_flag():
    config = changed(
        "optimizer.arguments.b1=0.8", "encoders.audio.frontend.name=log_spectrogram",
        "eval.layers=video.layer2,audio.layer3",
    )  # fmt: skip
    assert config.optimizer.arguments.to_dict() == {"b1": 0.8}
    frontend = config.encoders.audio.frontend
    # What both have stays as the file says; what log-mel alone has is gone.
    assert (frontend.hop_seconds, "num_mels" in frontend) == (0.02, False)
    assert tuple(config.eval.layers) == ("video.layer2", "audio.layer3")
    unnamed = load_config("configs/world/soundnet.py")
    override(unnamed, [("encoders.audio.frontend.name", "log_mel")])
    assert resolve(unnamed).encoders.audio.frontend.num_mels > 0
    with pytest.raises(UsageError, match=r"set one of its keys: optimizer\.arguments\.NAME"):
        changed("optimizer.arguments=3")


def test_any_objective_can_be_added_by_flag_with_its_defaults():
    config = changed("objectives.avc.weight=0.5", "objectives.xid.weight=1")
    assert config.objectives.avc.weight == 0.5
    assert config.objectives.avc.hidden == 128


def test_no_objective_with_weight_is_refused():
    with pytest.raises(UsageError, match="no objective"):
        changed("objectives.xid.weight=0")


def test_resolving_twice_changes_nothing():
    config = changed()
    assert to_json(resolve(config)) == to_json(config)


@pytest.mark.parametrize(
    ("flag", "counts"),
    [
        ("seed=1", True),
        ("optimizer.learning_rate=1", True),
        ("steps=2000", True),  # under a cosine the schedule moves
        ("data.workers=3", False),
        ("data.cache=none", False),
        ("data.local_cache=/near,data.local_cache_gib=9", False),
        ("parallel.mode=pmap", False),
        ("checkpoint.every_steps=7", False),
        ("log_every_steps=3", False),
        ("eval.protocols=knn", False),
    ],
)
def test_only_what_moves_the_numbers_counts_as_another_config(flag, counts):
    lines = differences(to_json(changed()), to_json(changed(*flag.split(","))))
    assert bool(lines) == counts
    if counts:
        assert flag.split("=")[0] in lines[0]


def test_more_steps_are_free_under_a_constant_schedule():
    constant = "optimizer.schedule=constant"
    short, long = (to_json(changed(constant, f"steps={n}")) for n in (10, 20))
    assert not differences(short, long)
    assert differences(long, short)


def test_unknown_variant_and_file():
    with pytest.raises(UsageError, match="quicktest"):
        load_config(f"{QUICKSTART}:quicktset")
    with pytest.raises(UsageError, match="configs/quickstart"):
        load_config("configs/quickstrt.py")


def test_tuples_from_flags():
    assert parse_value("k", "0.2,0.9", (0.1, 1.0)) == (0.2, 0.9)
    assert parse_value("k", "(0.2, 0.9)", (0.1, 1.0)) == (0.2, 0.9)
    assert parse_value("k", "knn", ("linear",)) == ("knn",)


def test_base_is_fresh_each_time():
    base().seed = 9
    assert base().seed == 0


def test_a_key_that_older_runs_lack_is_no_difference_while_it_says_nothing():
    old = {"a": {"b": 1}}
    for silent in ({}, "", False, None, []):
        assert differences(old, {"a": {"b": 1, "new": silent}}) == []
        assert differences({"a": {"b": 1, "gone": silent}}, old) == []
    for loud in (0, 0.5, True, "x"):
        assert differences(old, {"a": {"b": 1, "new": loud}}) == [f"a.new: absent -> {loud}"]
    assert differences({"a": {"b": 1}}, {"a": {"b": False}}) == ["a.b: 1 -> False"]
    assert differences({"a": {"b": None}}, {"a": {"b": ()}}) == []


def test_of_configs_inside_configs_what_they_say_is_compared():
    inside = {"init_from": {"a": 1, "init_from": {"b": 2}}}
    assert changed_keys(inside, {"init_from": {"a": 1, "new": "", "init_from": {"b": 2}}}) == []
    other = {"init_from": {"a": 1, "init_from": {"b": 3}}}
    assert changed_keys(inside, other) == ["init_from.init_from.b"]
    assert changed_keys(inside, {"init_from": ""}) == ["init_from"]


def test_a_quick_test_asks_no_earlier_run():
    config = base()
    config.teachers.teacher = dict(run="r", store="s", hash="h", encoder="audio", view="audio")
    quicktest(config)
    assert [config.teachers.teacher[key] for key in ("run", "store", "hash")] == ["", "", ""]


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["encoders.audio.frontend.name=rgb"], "audio.frontend.name=rgb is not for audio.*log_mel"),
        (
            ["encoders.video.frontend.name=log_mel"],
            "video.frontend.name=log_mel .*: give one of rgb$",
        ),
        (["encoders.audio.frontend.std=0"], "encoders.audio.frontend: std .* above 0, not 0.0"),
        (["encoders.video.frontend.std=(1,1)"], "encoders.video.frontend: std .* three numbers"),
    ],
)
def test_front_ends_that_cannot_be_are_named(flags, sentence):
    with pytest.raises(UsageError, match=sentence):
        changed(*flags)


def test_a_front_end_may_be_wrong_between_two_flags():
    frontend = changed(
        "encoders.audio.frontend.name=stft_db", "encoders.audio.frontend.mean=-40",
        "encoders.audio.frontend.statistics=None",
    ).encoders.audio.frontend  # fmt: skip
    assert (frontend.mean, frontend.statistics) == (-40.0, None)
