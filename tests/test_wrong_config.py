"""Mistakes in a config file or a flag: the file, line or key is named before anything is compiled."""

import pytest

from avssl.config import base, resolve
from avssl.config.check import check_parts
from avssl.errors import UsageError


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("def get_config(variant):\n    x = (1,\n", ", line 2: SyntaxError: '(' was never closed"),
        ("import no_such_module\n", ", line 1: ModuleNotFoundError: No module named"),
        ("x = 1\n", "has no function get_config(variant)"),
        ("def get_config(variant):\n    return 3\n", "must return a ConfigDict, not 3"),
        ("\0", "null bytes"),
    ],
)
def test_config_files_with_mistakes(text, sentence, run, tmp_path):
    file = tmp_path / "mistaken.py"
    file.write_text(text)
    code, _, err = run("pretrain", "--config", file, "--workdir", tmp_path / "run")
    assert code == 2
    assert f"config file '{file}'" in err
    assert sentence in err


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ("xdc.py", "objectives.xdc.norm_warmup_steps"),
        ("selavi.py", "objectives.selavi.norm_warmup_steps"),
        ("desa.py:codebook", "objectives.desa.labels_at_step"),
    ],
)
def test_what_begins_to_teach_after_the_run_is_refused(config, key, run, tmp_path):
    code, _, err = run(
        "pretrain", "--config", f"configs/world/{config}", "--workdir", tmp_path / "run",
        "--config.steps=60", f"--config.{key}=60",
    )  # fmt: skip
    assert code == 2
    assert f"{key.rpartition('.')[0]} teaches nothing before step 60" in err
    assert f"set {key} to fewer" in err


@pytest.mark.parametrize(
    "mistake",
    [
        "steps=0", "steps=ten", "steps=1.5", "seed=-1", "batch_size=-8", "precision=fp16",
        "init_from=/no/such/run", "log_every_steps=0", "checkpoint.keep=0", "ema.decay=1",
        "data.source=", "data.source=folder:", "data.source=/videos", "data.source=s3://bucket/x",
        "data.source=manifest:/none.csv", "data.source=tfds:/", "data.source=world:tiny@trian",
        "data.source=world:tiny@train*0+world:tiny@test", "data.source=folder:gs://bucket/x",
        "data.workers=-1", "data.cache=ram", "data.cache_gigabytes=-1", "data.max_bad_fraction=2",
        "data.local_cache=near", "data.local_cache_gib=5", "data.local_cache_gib=0",
        "data.holdout_fraction=1", "views.video.frames=0", "views.video.fps=0", "views.vidoe.size=3",
        "views.video.crop_area=(2,1)", "views.video.crop_area=x", "views.video.flip=maybe",
        "views.audio.rate=-5", "views.audio.seconds=0", "views.audio.channels=3",
        "views.audio.time_masks=(0.1,2)", "views.audio.frequency_masks=(2,)",
        "encoders.video.name=linear_audio", "encoders.video.dropout=2", "eval=3", "nope=1",
        "encoders.audio.frontend.name=mfcc", "encoders.audio.frontend.num_mels=0",
        "objectives.xid.weight=-1", "objectives.xid.weight=0", "objectives.xid.temperature=0",
        "objectives.xid.projection=(0,)", "objectives.xid=1", "optimizer.name=sgdd",
        "optimizer.learning_rate=-1", "optimizer.learning_rate=nan", "optimizer.warmup_steps=99",
        "optimizer.clip_norm=-1", "optimizer.accumulate=3", "optimizer.rules=[('(',{})]",
        "optimizer.layer_decay=0", "optimizer.head_warmup_steps=0.5", "optimizer.frozen=(",
        "optimizer.frozen=encodres/",
        "parallel.mode=xmap", "parallel.fsdp=3", "parallel.rules=7", "eval.protocols=knm",
        "eval.clips=2.5", "eval.every_steps=2.5", "eval.offset_frames=-3", "eval.track_score=1.5",
    ],
)  # fmt: skip
def test_wrong_values_are_refused_before_compilation(mistake, pretrain, generated, tmp_path):
    generated("world:tiny@train")
    code, out, err = pretrain(mistake)
    assert code == 2
    assert err.count("\n") == 1
    assert "compiled" not in out
    assert not list(tmp_path.glob("run/checkpoints/[0-9]*"))


@pytest.mark.parametrize(
    ("objective", "key", "wrong", "right"),
    [
        ("three_level", "similarity_temperature", 0.0, 0.1),
        ("ccl", "distillation_weight", -1.0, None),
        ("selavi", "dropout", 1.0, 0.0),
        ("avts", "hard_fraction", 1.5, 1.0),
        ("avts", "hard_from_step", -1, 0),
        ("avts", "margin", -0.99, 0.99),
        ("robust_xid", "softness", -0.1, 0.0),
        ("robust_xid", "least_weight", 1.1, 1.0),
        ("robust_xid", "statistics_momentum", 1.0, 0.0),
        ("robust_xid", "kappa", 0.0, 0.5),
        ("robust_xid", "warmup_steps", -1, 0),
        ("robust_xid", "queue_rows", -1, 0),
        ("robust_xid", "floor", "cilp", "affine"),
        ("robust_xid", "estimator", "cycles", "swapped"),
        ("cma", "positives_from_step", -1, 0),
        ("avsa", "projection_width", 0, 1),
        ("avsa", "depth", 0, 1),
        ("avsa", "num_heads", 0, 1),
        ("avsa", "alignment_from_step", -1, 0),
        ("avsa", "mode", "easy+hard", "hard"),
        ("crd", "bank_momentum", 1.0, 0.0),
        ("cmc", "bank_momentum", -0.5, 0.5),
        ("mcn", "kmeans_iterations", 0, 1),
        ("selavi", "num_clusters", 1, 2),
        ("selavi", "sharpness", 0.0, 20.0),
        ("soundnet", "scale", 0.0, 1.0),
        ("detect", "least_probability", 0.5, 0.0),
        ("mm_distillnet", "num_boxes", 0, 1),
    ],
)
def test_values_without_a_meaning_are_refused(objective, key, wrong, right):
    config = base()
    config.objectives[f"{objective}__second"] = {"weight": 1.0, key: right}
    config = resolve(config)
    check_parts(config)
    config.objectives[f"{objective}__second"][key] = wrong
    with pytest.raises(UsageError, match=rf"objectives\.{objective}__second\.{key}"):
        check_parts(config)


@pytest.mark.parametrize(("name", "key"), [("vit_video", "drop_path"), ("cnn14", "block_dropout")])
def test_what_encoders_drop_is_less_than_all(name, key):
    config = base()
    config.encoders.one = {"name": name, "modality": "video", key: 1.0}
    with pytest.raises(UsageError, match=rf"encoders\.one\.{key} must be between 0 and 0.999"):
        check_parts(config)


@pytest.mark.parametrize(
    ("layers", "said"),
    [("video", "write the modality and the name of a tap"), ("video.layer9", "unknown layer")],
)
def test_layers_are_looked_at_first(layers, said, pretrain):
    code, out, err = pretrain("eval.protocols=knn", f"eval.layers={layers}")
    assert code == 2
    assert said in err
    assert "compiled" not in out


def test_the_network_of_objects_is_looked_at_first(pretrain):
    code, out, err = pretrain(
        "eval.protocols=localization", "eval.alpha=0.4", "eval.object_encoder=/no/such/run"
    )
    assert code == 2
    assert "/no/such/run is no run folder" in err
    assert "compiled" not in out


def test_sources_of_the_final_table_are_looked_at_first(pretrain):
    code, out, err = pretrain("eval.protocols=knn", "eval.test_data=world:tiny@tset")
    assert code == 2
    assert "did you mean 'test'" in err
    assert "compiled" not in out
