"""Weights by the names of PyTorch's releases: a run of them teaches, and what does not fit is named."""

import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from avssl.config import load_config, override, resolve
from avssl.convert.import_weights import import_weights
from avssl.convert.weights_file import read_state
from avssl.data.open import open_source
from avssl.errors import UsageError
from avssl.models.features import Features
from avssl.models.registry import build_encoder
from avssl.models.releases import RELEASES
from avssl.models.torch_names import to_torch
from avssl.teachers.open import open_teachers
from avssl.teachers.teacher import teacher_of_run
from tests.models.drawing import drawn
from tests.teachers.stores import DATA, student

NUM_CLASSES = 4
CONFIG = """
from avssl.config import base


def get_config(variant=""):
    config = base()
    if variant == "cnn14":
        config.views = dict(audio=dict(modality="audio", seconds=1.0, rate=8000))
        config.encoders.audio = dict(
            name="cnn14", modality="audio", widths=(4, 4, 4, 6), embedding_size=5,
            frontend=dict(name="log_mel", num_mels=16, max_hz=4000.0),
        )
        return config
    config.views = dict(video=dict(modality="video", frames=1, fps=4.0, size=16))
    config.encoders.video = dict(
        name="resnet18_video", modality="video", widths=(4, 4, 4, 6), frontend=dict(name="rgb")
    )
    config.objectives.classify = dict(weight=1.0, num_classes=4, modalities=("video",))
    if variant == "pair":
        config.encoders.face = config.encoders.video
    return config
"""
SHAPES = {"resnet18": (1, 1, 16, 16, 3), "cnn14": (1, 16, 16, 1)}
SIZES = {"resnet18": 6, "cnn14": 5}


@pytest.fixture
def config(tmp_path):
    file = tmp_path / "network.py"
    file.write_text(CONFIG)
    return file


def loaded(config, variant, *changes):
    found = load_config(f"{config}:{variant}")
    override(found, changes)
    return resolve(found, trains=False)


def network(config, variant):
    """(the encoder, its random variables, a state_dict of them with its classifier)."""
    [(name, keys)] = loaded(config, variant).encoders.items()
    encoder, release = build_encoder(name, keys.to_dict(), jnp.float32), RELEASES[keys.name]
    variables = drawn(encoder, SHAPES[variant])
    random = np.random.default_rng(1)
    head = {
        f"{release.classifier}.weight": random.normal(size=(NUM_CLASSES, SIZES[variant])),
        f"{release.classifier}.bias": random.normal(size=NUM_CLASSES),
    }
    state = to_torch(release.table(encoder), variables) | head
    return encoder, variables, {key: np.float32(array) for key, array in state.items()}


def saved(folder, state):
    file = folder / "weights.safetensors"
    save_file({key: np.ascontiguousarray(array) for key, array in state.items()}, file)
    return file


def test_it_teaches_what_the_network_says(run, config, tmp_path):
    encoder, variables, state = network(config, "resnet18")
    # As several GPUs have trained it.
    file = saved(tmp_path, {f"module.{key}": array for key, array in state.items()})
    names, classes = open_source(DATA).label_names, tmp_path / "names.txt"
    classes.write_text("\n".join(names) + "\n")
    printed = run("import", file, tmp_path / "run", "--config", config, "--classes", classes)
    assert "video of" in printed
    assert "its classes, with 4 names" in printed
    teacher = teacher_of_run(str(tmp_path / "run"))
    assert teacher.classes == tuple(names)

    seeing = teacher.seeing("view", teacher.views[0], "float32")
    noise = np.random.default_rng(0).integers(0, 256, (3, 1, 16, 16, 3)).astype(np.uint8)
    batch = {**seeing.model.example_batch(3), "views": {"view": jnp.asarray(noise)}}
    ours = jax.tree.map(jnp.asarray, seeing.variables)
    targets = seeing.targets(ours, batch, jax.random.key(0), ("embedding", "logits"))
    seen = seeing.model.inputs(seeing.read, batch, jax.random.key(0))
    told = encoder.apply(jax.tree.map(jnp.asarray, variables), seen, train=False)
    assert isinstance(told, Features)
    assert told.embedding.std() > 0.01
    np.testing.assert_allclose(targets["embedding"], told.embedding, rtol=1e-4, atol=1e-5)
    logits = told.embedding @ state["fc.weight"].T + np.expand_dims(state["fc.bias"], 0)
    np.testing.assert_allclose(targets["logits"], logits, rtol=1e-4, atol=1e-4)


def test_a_student_hears_it_at_another_length(config, tmp_path, capsys):
    _, _, state = network(config, "cnn14")
    folder = tmp_path / "run"
    import_weights(saved(tmp_path, state), folder, loaded(config, "cnn14"))
    asks = student(**{"teachers.teacher.run": str(folder), "objectives.distill.loss": "hint"})
    asks.teachers.teacher.targets = ("embedding",)
    opened, _ = open_teachers(resolve(asks), open_source(DATA))
    assert opened.teachers.teacher.shapes.embedding == (5,)
    said = "learnt from audio: seconds 1, rate 8000, channels 1, and hears audio: seconds 0.25"
    assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "lost", "said"),
    [
        ((), "bn1.weight", r"is not of resnet18_video: the checkpoint lacks 'bn1.weight'"),
        ((), "fc.bias", r"no classifier of resnet18_video, 'fc.weight' and 'fc.bias'"),
        ((("objectives.classify.num_classes", "5"),), "", r"kernel \(\[6, 4\] there, \[6, 5\]"),
        ((("encoders.video.name", "small_video"),), "", "unknown encoder with official weights"),
        ((("objectives.xid.weight", "1"),), "", "the config the objectives classify, xid"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(changes, lost, said, config, tmp_path):
    _, _, state = network(config, "resnet18")
    file = saved(tmp_path, {key: array for key, array in state.items() if key != lost})
    with pytest.raises(UsageError, match=said):
        import_weights(file, tmp_path / "run", loaded(config, "resnet18", *changes))
    assert not (tmp_path / "run").exists()


def test_of_several_encoders_nobody_knows_which_it_is(config, tmp_path):
    with pytest.raises(UsageError, match="of one encoder, and the config has face, video"):
        import_weights(tmp_path / "weights.pth", tmp_path / "run", loaded(config, "pair"))


def test_names_of_classes_are_as_many_as_the_classes(config, tmp_path):
    file, classes = saved(tmp_path, network(config, "resnet18")[2]), tmp_path / "names.txt"
    classes.write_text("dog\ncat\n")
    with pytest.raises(UsageError, match=r"names.txt has 2 lines for 4 classes"):
        import_weights(file, tmp_path / "run", loaded(config, "resnet18"), classes)


def test_wrong_words_of_import(run, config, tmp_path):
    file = saved(tmp_path, {"fc.bias": np.zeros(3)})
    folder = tmp_path / "run"
    said = run("import", file, folder, refused=True)
    assert "weights of other programs are imported with --config" in said
    said = run("import", tmp_path / "no.pth", folder, "--config", config, refused=True)
    assert "no.pth' is no file" in said
    (tmp_path / "weights.h5").write_bytes(b"")
    said = run("import", tmp_path / "weights.h5", folder, "--config", config, refused=True)
    assert "is none of .safetensors, .pth" in said


def test_files_of_pytorch_are_read_without_running_them(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'avssl[torch]'")
    file = tmp_path / "weights.pth"
    weight = torch.arange(6.0).reshape(2, 3)
    for state in (
        {"a": weight},
        {"state_dict": {"module.a": weight}},
        {"epoch": 3, "model": {"a": weight}},
    ):
        torch.save(state, file)
        np.testing.assert_array_equal(read_state(file)["a"], weight.numpy())
    torch.save({"a": weight.to(torch.bfloat16)}, file)
    assert read_state(file)["a"].dtype == np.float32
    torch.save({"a": weight, "notes": pathlib.Path("x")}, file)
    with pytest.raises(UsageError, match="weights alone, and more may run code"):
        read_state(file)
    torch.save({"a": weight, "epoch": 3}, file)
    with pytest.raises(UsageError, match="holds no state_dict, nor one under state_dict or model"):
        read_state(file)


def test_without_pytorch_it_is_said_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    (tmp_path / "weights.pth").write_bytes(b"")
    with pytest.raises(UsageError, match=r"is a file of PyTorch: pip install 'avssl\[torch\]'"):
        read_state(tmp_path / "weights.pth")
