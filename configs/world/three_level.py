"""Three levels on the embedded world of persons: a voice alone learns from a voice and a face.

The teachers are both encoders of one run that learns the 80 training persons by angles with a margin. Its table
has the error rates of voice, face and both (`joint`: the teacher) on the 40 persons that nobody trained on; its
voice and face are the students without a teacher.

  avssl pretrain --config configs/world/three_level.py:teacher --workdir runs/world-persons
  avssl pretrain --config configs/world/three_level.py --workdir runs/world-three-level

`configs/world/three_level.py:face` has a face for a student; `:label`, `:embedding` and `:distribution` teach
the voice at that level alone, `:alone` at none. `--config.objectives.three_level.distribution=moments` (or
kernel) for the other readings.
Measured: RESULTS.md, by `configs/ablations/students.py`.
"""

from pathlib import Path

from avssl.config import load_config, variant_of

LEVELS = ("label", "embedding", "distribution")
# All persons of the world have a name, those of the test split among them.
NUM_PERSONS = 120


def get_config(variant: str = ""):
    config = load_config(str(Path(__file__).parents[1] / "quickstart.py"))
    config.data.source = config.eval.data = "world:persons@train"
    config.eval.test_data = "world:persons@test"
    # A mirrored face is another one, and its colours are what tells it.
    config.views.video.update(flip=False, crop_area=(0.7, 1.0))
    config.views.audio.update(seconds=1.5, rate=16000)
    for side in ("audio", "video"):
        config.teachers[side] = dict(
            run="runs/world-persons", encoder=side, view=side, targets=("embedding", "logits"),
            shapes=dict(embedding=(128,), logits=(NUM_PERSONS,)),
        )  # fmt: skip
    config.objectives = dict(three_level=dict(weight=1.0, student="audio", num_classes=NUM_PERSONS))
    config.eval.protocols = ("identity",)
    return variant_of(
        config, variant, teacher=teacher, face=face, alone=alone,
        **{level: only(level) for level in LEVELS},
    )  # fmt: skip


def teacher(config):
    config.teachers = {}
    config.objectives = dict(supervised=dict(weight=1.0, num_classes=NUM_PERSONS, margin=0.2))


def face(config):
    config.objectives.three_level.student = "video"


def only(level):
    def change(config):
        config.objectives.three_level.update(
            {f"{other}_weight": 0.0 for other in LEVELS if other != level}
        )

    return change


def alone(config):
    config.teachers = {}
    config.objectives.three_level.update(audio_teacher="", video_teacher="")
