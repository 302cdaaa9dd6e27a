"""AVL on the embedded world of several objects: `ez_vsl.py` with hints of both teachers.

The teachers are the encoders of a finished run of `supervised.py` on the same clips. Projections are as wide
as the embeddings of the sound's; its weight goes with the width, and the embeddings, which are not PANNs', are
scaled to length 1.

  avssl pretrain --config configs/world/supervised.py:crowd --workdir runs/world-crowd-supervised
  avssl pretrain --config configs/world/avl.py --workdir runs/world-avl
  avssl evaluate --workdir runs/world-avl --protocols localization --save-visualizations

`--config.objectives.avl.sound_teacher=''` or `object_teacher=''` leaves one out; random networks as teachers
(`--config.teachers.sound.run='' --config.teachers.objects.run=''`) are the baseline. Measured: not yet.
"""

from pathlib import Path

from avssl import config as shared
from avssl.config import variant_of
from avssl.config_file import load_config

RUN = "runs/world-crowd-supervised"
WIDTH = 128


def get_config(variant: str = ""):
    config = load_config(str(Path(__file__).parent / "ez_vsl.py"))
    config.teachers.sound = dict(
        run=RUN, encoder="audio", view="audio", targets=("embedding",),
        shapes=dict(embedding=(WIDTH,)),
    )  # fmt: skip
    config.teachers.objects = dict(
        run=RUN, encoder="video", view="video", targets=("map",), shapes=dict(map=(2, 8, 8, WIDTH))
    )  # fmt: skip
    config.objectives = dict(
        avl=dict(weight=1.0, channels=WIDTH, sound_weight=WIDTH / 2, normalise_teacher=True)
    )
    return variant_of(config, variant, quicktest=quicktest)


def quicktest(config):
    shared.quicktest(config)
    # As wide as the sound teacher is then.
    config.objectives.avl.channels = WIDTH // 8
