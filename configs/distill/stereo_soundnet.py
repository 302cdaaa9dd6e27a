"""StereoSoundNet at the scale of its table in MM-DistillNet: a detector of pictures teaches one that hears.

Gan et al. 2019 (arXiv 1910.11760): their stereo recordings of a street are not public, and their numbers of
MAVD are MM-DistillNet's, with its schedule (`mm_distillnet.py`) and eight microphones, whose places are not
known. `configs/distill/stereo_soundnet.py:stereo` is for data in stereo: two channels, and half of the clips
mirrored, picture and sound. The teacher is a run of `configs/distill/mm_distillnet.py:teacher` on the cars of
VOC 2007 (theirs is a YOLOv2). MAVD has no labels: the published numbers are by what the three teachers of a run
of `mm_distillnet.py` find together, `--truth runs/mavd-mm`; `--truth teachers` is by the one of this run.

  avssl pretrain --config configs/distill/mm_distillnet.py:teacher --workdir runs/mavd-rgb \
      --config.data.source=voc2007:/data/voc2007@car_trainval --config.steps=100000
  avssl pretrain --config configs/distill/stereo_soundnet.py --workdir runs/mavd-stereo
  avssl evaluate --workdir runs/mavd-stereo --test-data mavd:data/mavd@test_all --protocols detection \
      --truth runs/mavd-mm --released mm_distillnet

Expected (mean over thresholds 0.5 to 0.9 of the AP, as run by MM-DistillNet): 44.05.
Measured: not run at this scale.
"""

from pathlib import Path

from avssl.config import load_config, variant_of

MM_DISTILLNET = str(Path(__file__).parent / "mm_distillnet.py")


def stereo_soundnet(config):
    del config.teachers.depth, config.teachers.thermal, config.views.depth, config.views.thermal
    width = config.encoders.video.pyramid_width
    config.teachers.rgb.targets = ("boxes", "embedding")
    if config.teachers.rgb.shapes:
        config.teachers.rgb.shapes = dict(boxes=(16, 6), embedding=(width,))
    config.objectives = dict(stereo_soundnet=dict(weight=1.0, agnostic=True, teachers=("rgb",)))


def stereo(config):
    config.views.audio.update(channels=2, mirrored_with="video")
    config.views.video.flip = True


def get_config(variant: str = ""):
    # Views, encoders and schedule, and how they shrink, are those of the other.
    variants = [name for name in variant.split("+") if name]
    shrunk = "quicktest" in variants
    config = load_config(f"{MM_DISTILLNET}:quicktest" if shrunk else MM_DISTILLNET)
    stereo_soundnet(config)
    others = [name for name in variants if name != "quicktest"]
    return variant_of(config, "+".join(others), stereo=stereo)
