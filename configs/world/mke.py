"""Multimodal knowledge expansion on the embedded world: a teacher of sound names clips for a student of both.

The teacher is the sound encoder of a run on the labels of a tenth of the clips; the student learns from the
other nine tenths, whose labels nobody looks at, what that teacher calls them. The teacher's view is each clip's
middle as it is, so that a clip has one name; the student's are drawn anew each time.

  avssl pretrain --config configs/world/mke.py:teacher --workdir runs/world-few-labels
  avssl pretrain --config configs/world/mke.py --workdir runs/world-mke

`top1` of `classification` is the share of test clips that are named rightly: of the teacher in its own run
(`audio`), of the student in its own (`joint`), as the teacher's classes are the data's. For comparison
`configs/world/mke.py:unimodal` has a student of sound alone and `:plain` one without noise; `:picture` a
teacher of pictures.
Measured: RESULTS.md, by `configs/ablations/students.py`.
"""

from pathlib import Path

from avssl.config import load_config, variant_of


def get_config(variant: str = ""):
    config = load_config(str(Path(__file__).parents[1] / "quickstart.py"))
    config.data.source = "world:quickstart@train[10%:]"
    config.objectives = dict(mke=dict(weight=1.0, hidden_widths=(128,), noise=1.0))
    config.eval.protocols = ("classification", "clustering", "knn", "linear")
    taught_by(config, "audio", volume=0.0)
    return variant_of(
        config, variant, teacher=teacher, unimodal=unimodal, plain=plain, picture=picture
    )


def taught_by(config, modality, **still):
    """A teacher that sees what the student's view of that modality shows, without draws."""
    config.views.labelled = dict(
        **{**config.views[modality].to_dict(), **still},
        anchor="labelled",
        window="center",
        align="center",
    )
    config.teachers.teacher = dict(
        run="runs/world-few-labels", encoder=modality, view="labelled", targets=("logits",),
        shapes=dict(logits=(10,)),
    )  # fmt: skip


def teacher(config):
    config.teachers = {}
    del config.views.labelled
    config.data.source = "world:quickstart@train[:10%]"
    config.steps = 240
    config.objectives = dict(supervised=dict(weight=1.0, num_classes=10))


def unimodal(config):
    config.objectives.mke.modalities = ("audio",)


def plain(config):
    config.objectives.mke.noise = 0.0


def picture(config):
    taught_by(config, "video", brightness=0.0, contrast=0.0, crop="center", flip=False)
