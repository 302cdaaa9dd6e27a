"""AVL on the embedded world of several objects: `ez_vsl.py` with hints of both teachers.

The teachers know clips of one object: the sounds of `supervised.py`, the pictures of `supervised.py:pictures`,
which is in ImageNet's place and what the student's own picture network begins with, as without hints.
Projections are as wide as the embeddings of the sound's; the weights of the hints and the scale of what the
objects' teacher says go with the width, and the embeddings, which are not PANNs', are scaled to length 1.

  avssl pretrain --config configs/world/supervised.py --workdir runs/world-supervised
  avssl pretrain --config configs/world/supervised.py:pictures --workdir runs/world-pictures
  avssl pretrain --config configs/world/avl.py --workdir runs/world-avl --config.init_from=runs/world-pictures
  avssl evaluate --workdir runs/world-avl --protocols localization --object-encoder runs/world-pictures \
      --save-visualizations

`--config.objectives.avl.sound_teacher=''` or `object_teacher=''` leaves one out; random networks as teachers
(`--config.teachers.sound.run='' --config.teachers.objects.run=''`) are the baseline.
Measured: RESULTS.md, by `configs/ablations/students.py`.
"""

from pathlib import Path

from avssl import config as shared
from avssl.config import load_config, variant_of

WIDTH = 128


def get_config(variant: str = ""):
    config = load_config(str(Path(__file__).parent / "ez_vsl.py"))
    config.teachers.sound = dict(
        run="runs/world-supervised", encoder="audio", view="audio", targets=("embedding",),
        shapes=dict(embedding=(WIDTH,)),
    )  # fmt: skip
    config.teachers.objects = dict(
        run="runs/world-pictures", encoder="video", view="video", targets=("map",),
        shapes=dict(map=(1, 8, 8, WIDTH)),
    )  # fmt: skip
    config.objectives = dict(
        avl=dict(
            weight=1.0, channels=WIDTH, temperature=0.1, normalise_teacher=True,
            sound_weight=1_000 * WIDTH / 2048, object_weight=100_000 * WIDTH / 2048,
            object_scale=(2048 / WIDTH) ** 0.5,
        )
    )  # fmt: skip
    return variant_of(config, variant, quicktest=quicktest)


def quicktest(config):
    shared.quicktest(config)
    # As wide as the sound teacher is then.
    config.objectives.avl.channels = WIDTH // 8
