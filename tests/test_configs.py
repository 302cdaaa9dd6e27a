"""Every file in configs/ runs two steps in its `:quicktest` variant and says what it is."""

import dataclasses
import json
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from avssl.cli import main
from avssl.config import load_config, resolve
from avssl.config.tree import flatten
from avssl.data.placement import place_in_space
from avssl.data.views import VideoView, build_views
from avssl.train import run
from avssl.train.build_model import build_model
from avssl.train.mesh import make_mesh
from avssl.train.run import build_setup

CONFIGS = sorted(
    str(path) for path in Path("configs").rglob("*.py") if "ablations" not in path.parts
)
VARIANTS = [
    "configs/distill/ambient.py:binary",
    "configs/distill/ambient.py:spectrum",
    "configs/distill/avl.py:vit",
    "configs/distill/ccl.py:both",
    "configs/distill/ccl.py:image",
    "configs/distill/distill.py:both",
    "configs/distill/distill.py:cmc",
    "configs/distill/distill.py:cmc_both",
    "configs/distill/distill.py:cmc_image",
    "configs/distill/distill.py:crd",
    "configs/distill/distill.py:crd_both",
    "configs/distill/distill.py:crd_image",
    "configs/distill/distill.py:image",
    "configs/distill/distill.py:image_teacher",
    "configs/distill/soundnet.py:soundnet5",
    "configs/distill/stereo_soundnet.py:stereo",
    "configs/world/ambient.py:binary",
    "configs/world/ambient.py:spectrum",
    "configs/distill/mke.py:picture",
    "configs/distill/mke.py:teacher",
    "configs/distill/mm_distillnet.py:mixed",
    "configs/distill/mm_distillnet.py:teacher",
    "configs/distill/mke.py:unimodal",
    "configs/distill/mutual.py:visual",
    "configs/distill/three_level.py:face",
    "configs/distill/three_level.py:teacher",
    "configs/finetune/audioset.py:unbalanced",
    "configs/finetune/dcase.py:dcase2018",
    "configs/finetune/esc50.py:conv2d10",
    "configs/finetune/esc50.py:fold5",
    "configs/finetune/hmdb51.py:split3",
    "configs/finetune/kinetics400.py:fusion",
    "configs/finetune/kinetics400.py:frozen",
    "configs/finetune/ucf101.py:frozen",
    "configs/finetune/ucf101.py:split2",
    "configs/finetune/vggsound.py:fusion",
    "configs/finetune/world.py:frozen",
    "configs/finetune/world.py:scratch",
    "configs/finetune/world.py:video",
    "configs/pretrain/av_mae.py:base",
    "configs/pretrain/avts.py:super_hard",
    "configs/pretrain/dmc.py:simplified",
    "configs/pretrain/selavi.py:kinetics",
    "configs/world/avc.py:pairs",
    "configs/world/avts.py:super_hard",
    "configs/world/ccl.py:both",
    "configs/world/ccl.py:image",
    "configs/world/desa.py:codebook",
    "configs/world/detect.py:depth",
    "configs/world/detect.py:thermal",
    "configs/world/distill.py:cmc",
    "configs/world/distill.py:both",
    "configs/world/distill.py:crd",
    "configs/world/distill.py:crd_both",
    "configs/world/dmc.py:simplified",
    "configs/world/mm_distillnet.py:rgb",
    "configs/world/selavi.py:unbalanced",
    "configs/world/stereo_soundnet.py:mono",
    "configs/world/supervised.py:cells",
    "configs/world/supervised.py:long",
    "configs/world/supervised.py:pictures",
    "configs/world/supervised.py:sphere",
    "configs/world/xid.py:faulty",
    "configs/world/mke.py:picture",
    "configs/world/mke.py:plain",
    "configs/world/mke.py:teacher",
    "configs/world/mke.py:unimodal",
    "configs/world/mutual.py:alone",
    "configs/world/mutual.py:one_way",
    "configs/world/mutual.py:visual",
    "configs/world/three_level.py:alone",
    "configs/world/three_level.py:face",
    "configs/world/three_level.py:label",
    "configs/world/three_level.py:teacher",
]


@pytest.fixture
def on_one_device(monkeypatch):
    """Whether a config runs does not depend on the devices."""

    def one(fsdp, _, **keys):
        return make_mesh(fsdp, jax.devices()[:1], **keys)

    monkeypatch.setattr(run, "make_mesh", one)


def is_default(config: str) -> bool:
    """The one that is trained in the default suite: each takes ten seconds to compile, or many more."""
    return Path(config).name == "quickstart.py"


def verb_of(config: str) -> str:
    return "finetune" if "finetune" in config else "pretrain"


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(config, marks=[] if is_default(config) else [pytest.mark.slow])
        for config in CONFIGS
    ],
)
def test_quicktest_runs_two_steps(config, tmp_path, on_one_device):
    command = [
        verb_of(config),
        "--config",
        f"{config}:quicktest",
        "--workdir",
        str(tmp_path / "run"),
    ]
    assert main([*command, "--config.eval.protocols=()"]) == 0
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2]
    # Objectives that wait for labels of their own have them by then.
    assert json.loads(lines[-1])["loss"]


@pytest.mark.parametrize("config", CONFIGS + VARIANTS)
def test_a_config_fits_together(config):
    """At full size, by shapes alone: views, encoders, heads and memory."""
    config = load_config(config)
    # What a run takes from its data.
    config.data.num_records = config.data.num_records or 1000
    config = resolve(config)
    model = build_model(config)
    setup = build_setup(config, model, jax.devices()[:1])
    assert jax.tree.leaves(setup.abstract.params)


@pytest.mark.parametrize("name", ["dmc", "mcn"])
def test_pictures_that_the_paper_takes_as_they_are_are_drawn_in_time_alone(name):
    view = build_views(resolve(load_config(f"configs/pretrain/{name}.py")).views)["video"]
    still = view.evaluation()
    same = dataclasses.replace(view, window=still.window, align=still.align)
    assert same.crop in ("center", "squash")
    assert same == still


def test_dmcs_later_form_clusters_maps_as_fine_as_the_released_networks():
    model = build_model(resolve(load_config("configs/pretrain/dmc.py:simplified")))

    def maps(key):
        found = model.features(model.init(key), model.example_batch(1), key, train=False)[0]
        return {read.encoder: features.map for read, features in found.items()}

    shapes = jax.tree.map(jnp.shape, jax.eval_shape(maps, jax.random.key(0)))
    # Of 224 pixels, and of 201 spectra of 64 bands a second.
    assert shapes == {"video": (1, 1, 14, 14, 512), "audio": (1, 13, 4, 512)}


# Faces are cut out of their videos as squares.
OF_SQUARES = ("configs/distill/three_level.py",)


@pytest.mark.parametrize(
    "config", [config for config in CONFIGS if "world" not in config and config not in OF_SQUARES]
)
@pytest.mark.parametrize(("width", "height"), [(455, 256), (341, 256)], ids=["16:9", "4:3"])
def test_random_crops_fit_into_the_usual_frames(config, width, height):
    """A square larger than any that fits is never drawn: all clips would show their middle."""
    views = build_views(resolve(load_config(config)).views).values()
    drawn = [v for v in views if isinstance(v, VideoView) and v.crop == "random"]
    for view in drawn:
        size = {"frame_width": width, "frame_height": height}
        crops = [place_in_space(view, **size, seed=0, position=clip) for clip in range(8)]
        assert len({(crop.left, crop.top, crop.width) for crop in crops}) > 1


@pytest.mark.parametrize(
    ("config", "passes", "batch_size", "learning_rate"),
    [
        ("avid.py", 30 * 10, 256, 2e-4),
        ("avid.py:audioset", 40 * 5, 160, 5e-4),
        ("cma.py", 20 * 10, 256, 2e-4),
        ("cma.py:audioset", 40 * 5, 160, 1e-4),
        ("avsa.py", 100 * 2, 32, 1e-4),
    ],
)
def test_lengths_and_rates_are_those_of_the_released_code(
    config, passes, batch_size, learning_rate
):
    """Epochs times clips of a video, with Adam at a constant rate. AVSA's batch is the config's own."""
    config = load_config(f"configs/pretrain/{config}")
    num_clips = passes * config.data.num_records
    assert config.batch_size == batch_size
    assert config.steps * batch_size == pytest.approx(num_clips, rel=0.01)
    optimizer = config.optimizer
    assert (optimizer.name, optimizer.schedule, optimizer.warmup_steps) == ("adam", "constant", 0)
    assert (optimizer.learning_rate, optimizer.weight_decay) == (learning_rate, 1e-5)


VIDEO = dict(frames=8, fps=16.0, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.2)
OF_BANKS = dict(num_negatives=1024, temperature=0.07, bank_momentum=0.5, projection=(512, 512, 128))


@pytest.mark.parametrize(
    ("config", "constants"),
    [
        (
            "avid",
            {
                "objectives.avid": dict(**OF_BANKS, cross=1.0, within=0.0, norm_heads=False),
                "views.video": dict(**VIDEO, size=224, jitter_seconds=0.5),
                "views.audio": dict(seconds=2.0, rate=24000, volume=0.1),
                "encoders.audio": dict(name="conv2d10", strides=(2, 2, 2, 1)),
                "encoders.audio.frontend": dict(fft_size=1024, hop_seconds=0.01, top_db=100.0),
            },
        ),
        (
            "cma",
            {
                "objectives.cma": dict(
                    **OF_BANKS, num_positives=32, agreement="consensus", num_negatives_within=64,
                    cross_instance=1.0, within_instance=0.0, cross_positives=0.0,
                    within_positives=1.0, positives_from_step=0, refresh_every_steps=45_325,
                ),
            },
        ),
        (
            "avsa",
            {
                "objectives.avsa": dict(
                    mode="easy_hard", temperature=0.07, projection_width=128, transformers=True,
                    depth=2, num_heads=1, dropout=0.1, alignment_from_step=275_000,
                ),
                "views.viewpoints": dict(**VIDEO, size=112, windows=4, flip=False),
                "views.audio": dict(seconds=1.0, rate=24000, channels=4, volume=0.1),
                "encoders.video": dict(name="r2plus1d18", stem_max_pool=False),
                "encoders.audio": dict(name="conv2d10", strides=(1, 2, 2, 1)),
                "encoders.audio.frontend": dict(
                    num_mels=128, fft_size=512, hop_seconds=0.01, power=1, top_db=100.0
                ),
            },
        ),
    ],
)  # fmt: skip
def test_constants_are_those_of_the_released_code(config, constants):
    values = flatten(resolve(load_config(f"configs/pretrain/{config}.py")))
    for group, wanted in constants.items():
        assert {key: values[f"{group}.{key}"] for key in wanted} == wanted


@pytest.mark.parametrize("config", CONFIGS)
def test_batch_of_the_quicktest_divides_by_eight(config):
    assert resolve(load_config(f"{config}:quicktest")).batch_size % 8 == 0


@pytest.mark.parametrize("config", CONFIGS)
def test_docstring_has_the_command(config):
    init = " --init RUN" if verb_of(config) == "finetune" else ""
    text = re.sub(r"--init \S+", "--init RUN", Path(config).read_text())
    assert f"avssl {verb_of(config)} --config {config}{init} --workdir" in text
