"""StereoSoundNet at the scale of its table in MM-DistillNet: a detector of pictures teaches one that hears.

Gan et al. 2019 (arXiv 1910.11760): their stereo recordings of a street are not public, and their numbers of
MAVD are MM-DistillNet's, with its schedule (`mm_distillnet.py`) and eight microphones. For stereo sound
`--config.views.audio.channels=2`. The teacher is a run of `configs/world/detect.py` on boxes of cars (theirs is
a YOLOv2).

  avssl pretrain --config configs/world/detect.py --workdir runs/mavd-rgb --config.data.source=DATA
  avssl pretrain --config configs/distill/stereo_soundnet.py --workdir runs/mavd-stereo

Expected (mean over thresholds 0.5 to 0.9 of the AP, as run by MM-DistillNet): 44.05.
Measured: not run at this scale.
"""

from pathlib import Path

from avssl.config import variant_of
from avssl.config_file import load_config

MM_DISTILLNET = str(Path(__file__).parent / "mm_distillnet.py")


def stereo_soundnet(config):
    del config.teachers.depth, config.teachers.thermal, config.views.depth, config.views.thermal
    width = config.encoders.video.pyramid_width
    config.teachers.rgb.targets = ("boxes", "embedding")
    if config.teachers.rgb.shapes:
        config.teachers.rgb.shapes = dict(boxes=(16, 6), embedding=(width,))
    config.objectives = dict(stereo_soundnet=dict(weight=1.0, agnostic=True, teachers=("rgb",)))


def get_config(variant: str = ""):
    # Views, encoders and schedule, and how they shrink, are those of the other.
    config = load_config(f"{MM_DISTILLNET}:{variant}" if variant == "quicktest" else MM_DISTILLNET)
    stereo_soundnet(config)
    return config if variant == "quicktest" else variant_of(config, variant)
