"""SoundNet on the embedded world: a network of pictures teaches five convolutions on the waveform, no labels.

The teacher is the picture's encoder of a finished run of `supervised.py`. It looks at two windows of each clip,
as long as those it learnt from, and the student answers for two slots.

  avssl pretrain --config configs/world/supervised.py --workdir runs/world-supervised
  avssl pretrain --config configs/world/soundnet.py --workdir runs/world-soundnet

`--config.teachers.image.run=''` is the baseline: a random network teaches.
Measured: RESULTS.md, by `configs/ablations/students.py`.
"""

from pathlib import Path

from avssl import config as shared
from avssl.config import load_config, variant_of


def get_config(variant: str = ""):
    config = load_config(str(Path(__file__).parents[1] / "quickstart.py"))
    # Clips last 3 s: their whole sound, and pictures from 0.1 to 1.6 s and from 1.4 to 2.9 s.
    config.views.audio.seconds = 3.0
    config.views.video.update(windows=2, every_seconds=1.3, align="center")
    config.encoders.audio = dict(name="soundnet5", modality="audio", widths=(16, 32, 64, 128))
    config.teachers.image = dict(
        run="runs/world-supervised", encoder="video", view="video", targets=("logits",),
        shapes=dict(logits=(2, 10)),
    )  # fmt: skip
    # Of 9 moments.
    config.objectives = dict(
        soundnet=dict(weight=1.0, teachers=("image",), kernel=5, stride=4, padding=0)
    )
    # No score between a picture and a sound is learnt.
    config.eval.protocols = ("knn", "linear")
    return variant_of(config, variant, quicktest=quicktest)


def quicktest(config):
    shared.quicktest(config)
    # The smallest world's clips last 1.5 s.
    config.views.audio.seconds = 1.5
    config.views.video.update(fps=4.0, every_seconds=0.75)
    config.objectives.soundnet.update(kernel=3, stride=2)
