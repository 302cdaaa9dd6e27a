"""The teachers that students of paper scale name: the commands that make them make what fits."""

import re
from pathlib import Path

import jax
import pytest

from avssl.command_line import split_overrides
from avssl.config import load_config, override, resolve
from avssl.data.views import build_views
from avssl.teachers.spec import build_specs
from avssl.teachers.teacher import Teacher, classifier_of, detector_of, views_of
from avssl.train.build_model import build_model

STUDENTS = (
    "avl.py", "ccl.py:both", "distill.py:both", "distill.py:crd_both", "distill.py:image",
    "soundnet.py", "stereo_soundnet.py", "three_level.py",
)  # fmt: skip
TAUGHT = [
    pytest.param(f"configs/distill/{student}", name, id=f"{student}-{name}")
    for student in STUDENTS
    for name in load_config(f"configs/distill/{student}").teachers
]
# The guide's pictures are of Places365, the paper's of Places2.
OTHER_CLASSES = ("runs/places",)


def commands():
    """By run folder the words of all documented commands that make it."""
    pages = [*Path("configs").glob("*/*.py"), *Path("avssl/data/guides").glob("*.md")]
    found = {}
    for page in pages:
        text = re.sub(r"\\\n\s*", "", page.read_text())
        for line in re.findall(r"^ +avssl (?:pretrain|finetune|import) .*$", text, re.MULTILINE):
            words = line.split()
            run = words[3] if words[1] == "import" else words[words.index("--workdir") + 1]
            found.setdefault(run, []).append(words)
    return found


def documented(run):
    """The config of the command that makes a run; of several they are to say the same of its networks."""
    configs = []
    for command in commands()[run]:
        words, overrides = split_overrides(command)
        config = load_config(words[words.index("--config") + 1])
        override(config, overrides)
        config.data.num_records = config.data.num_records or 1000
        configs.append(resolve(config, trains=False))
    for other in configs[1:]:
        assert (other.encoders, other.views) == (configs[0].encoders, configs[0].views)
    return configs[0]


@pytest.mark.parametrize(("student", "name"), TAUGHT)
def test_a_documented_teacher_fits_its_student(student, name):
    config = resolve(load_config(student))
    spec = build_specs(config)[name]
    view = build_views(config.views.to_dict())[spec.view]
    of_run = documented(spec.run)
    model = build_model(of_run)
    key, objective = classifier_of(model, spec.encoder)
    abstract = jax.eval_shape(lambda: model.init(jax.random.key(0)))
    variables = {
        "params": abstract["params"]["encoders"][spec.encoder],
        "batch_stats": abstract["batch_stats"]["encoders"].get(spec.encoder, {}),
        "head": abstract["params"]["objectives"][key] if key else {},
    }
    teacher = Teacher(
        spec.run, spec.encoder, of_run.encoders[spec.encoder].to_dict(),
        views_of(model, spec.encoder, spec.run), {}, objective, detector_of(model, spec.encoder),
    )  # fmt: skip
    teacher.check_view(name, spec.view, view)
    teacher.check_targets(spec.targets)
    seeing = teacher.seeing(spec.view, view, "float32")
    batch = seeing.model.example_batch(3)
    said = jax.eval_shape(
        lambda given: seeing.targets(given, batch, jax.random.key(0), spec.targets), variables
    )
    shapes = {kind: leaf.shape[1:] for kind, leaf in said.items()}
    if spec.run in OTHER_CLASSES:
        shapes["logits"] = (*shapes["logits"][:-1], spec.shapes["logits"][-1])
    assert shapes == spec.shapes


@pytest.mark.parametrize("config", ["ez_vsl.py", "lvs.py", "avl.py"])
def test_networks_to_begin_with_are_of_the_same_kind(config):
    """`--config.init_from=runs/imagenet-resnet18`."""
    student = resolve(load_config(f"configs/distill/{config}"))
    start = documented("runs/imagenet-resnet18")
    assert start.encoders.video.name == student.encoders.video.name
    assert start.views.video.size == student.views.video.size
