"""Ambient sound on the embedded world: pictures predict the texture of their clip's sound, no labels.

Textures are taken once, of the middle of each clip, up to 5 kHz: no sound is decoded after the first step.

  avssl pretrain --config configs/world/ambient.py --workdir runs/world-ambient

`configs/world/ambient.py:binary` predicts the signs of principal components, `:spectrum` those of the mean
cochleagram alone. The table's numbers of the sound are those of the textures themselves, which nothing trains.
Measured: RESULTS.md, by `configs/ablations/students.py`.
"""

from pathlib import Path

from avssl import config as shared
from avssl.config import load_config, variant_of


def get_config(variant: str = ""):
    config = load_config(str(Path(__file__).parents[1] / "quickstart.py"))
    config.views.audio = dict(modality="audio", seconds=1.5, rate=12000)
    config.encoders.audio = dict(
        name="identity_audio", modality="audio", frontend=dict(name="texture", max_hz=5000.0)
    )
    config.objectives = dict(ambient=dict(weight=1.0, every_window=False))
    # No score between a picture and a sound is learnt.
    config.eval.protocols = ("knn", "linear")
    return variant_of(config, variant, binary=binary, spectrum=spectrum, quicktest=quicktest)


def binary(config):
    config.objectives.ambient.form = "binary"


def spectrum(config):
    config.objectives.ambient.form = "spectrum"


def quicktest(config):
    shared.quicktest(config)
    # The smallest world has 32 clips.
    config.objectives.ambient.num_clusters = 8
