"""Vehicles found by two microphones (StereoSoundNet) on the embedded world, as a detector of pictures tells.

The teacher is a finished run of `detect.py`. What is scored is the vehicles that move, which are those that
sound; parked ones are boxes of the teacher too.

  avssl pretrain --config configs/world/detect.py --workdir runs/world-detect
  avssl pretrain --config configs/world/stereo_soundnet.py --workdir runs/world-stereo

Half of the clips are mirrored, picture and sound. `configs/world/stereo_soundnet.py:mono` hears one microphone,
which has no directions, and is told of pictures as they are. The table has the scores by night as well. From a
store:

  avssl teach --teacher runs/world-detect --data world:vehicles@train --out runs/vehicle-boxes \
      --targets boxes,embedding --every-seconds 0.25
  avssl pretrain --config configs/world/stereo_soundnet.py --workdir runs/world-stereo-cached \
      --config.teachers.teacher.store=runs/vehicle-boxes

Measured: RESULTS.md, by `configs/ablations/students.py`.
"""

from pathlib import Path

from avssl import config as shared
from avssl.config import load_config, variant_of

SIZE = 80  # of the teacher's picture


def mono(config):
    config.views.audio.update(channels=1, mirrored_with="")
    config.views.video.flip = False


def quicktest(config):
    shared.quicktest(config)
    config.encoders.audio.update(height=config.views.video.size, width=config.views.video.size)


def get_config(variant: str = ""):
    # The teacher's encoder, which a random one takes the place of, the data and how long it is trained.
    config = load_config(str(Path(__file__).parent / "detect.py"))
    # The frame in the middle of what is heard.
    config.views.video = dict(
        modality="video", frames=1, fps=8.0, size=SIZE, align="center", crop="center",
        heard_objects=True,
    )  # fmt: skip
    config.views.audio = dict(
        modality="audio", seconds=1.0, rate=16000, channels=2, volume=0.5, mirrored_with="video"
    )
    config.encoders.audio = dict(
        name="small_detector_audio", modality="audio", num_classes=1, levels=(2, 3, 4),
        height=SIZE, width=SIZE,
        frontend=dict(name="log_mel", num_mels=64, hop_seconds=0.0125, mean=-40.0, std=20.0),
    )  # fmt: skip
    config.teachers.teacher = dict(
        run="runs/world-detect", encoder="video", view="video", targets=("boxes", "embedding"),
        shapes=dict(boxes=(16, 6), embedding=(32,)),
    )  # fmt: skip
    # Half of the clips that are trained on have a box that is as sure.
    config.eval.track_score = 0.15
    config.objectives = dict(stereo_soundnet=dict(weight=1.0, agnostic=True))
    return variant_of(config, variant, mono=mono, quicktest=quicktest)
