"""Vehicles found by two microphones, taught by detectors of light, depth and warmth (MM-DistillNet).

The teachers are finished runs of `detect.py`, one for each eye. What is scored is the vehicles that move.

  avssl pretrain --config configs/world/detect.py --workdir runs/world-detect
  avssl pretrain --config configs/world/detect.py:depth --workdir runs/world-detect-depth
  avssl pretrain --config configs/world/detect.py:thermal --workdir runs/world-detect-thermal
  avssl pretrain --config configs/world/mm_distillnet.py --workdir runs/world-mm

`configs/world/mm_distillnet.py:rgb` has the first of them alone. The table has the scores by night and in fog
as well. Measured: RESULTS.md, by `configs/ablations/students.py`.
"""

from pathlib import Path

from avssl import config as shared
from avssl.config import load_config, variant_of

EYES = {"rgb": "", "depth": "depth", "thermal": "thermal"}
POSITIONS = 20 * 20 + 10 * 10 + 5 * 5  # of the three levels


def rgb(config):
    config.objectives.mm_distillnet.teachers = ("rgb",)
    config.eval.track_score = 0.15


def quicktest(config):
    shared.quicktest(config)
    config.encoders.audio.update(height=config.views.video.size, width=config.views.video.size)


def get_config(variant: str = ""):
    # What is heard and how it is trained.
    config = load_config(str(Path(__file__).parent / "stereo_soundnet.py"))
    del config.teachers.teacher
    # The paper mirrors nothing.
    config.views.audio.mirrored_with, config.views.video.flip = "", False
    for name, stream in EYES.items():
        view = "video" if name == "rgb" else name
        config.views[view] = dict(config.views.video.to_dict(), stream=stream)
        config.teachers[name] = dict(
            run="-".join(filter(None, ("runs/world-detect", stream))), encoder="video", view=view,
            targets=("boxes", "attention"), shapes=dict(boxes=(16, 6), attention=(POSITIONS,)),
        )  # fmt: skip
    config.objectives = dict(
        mm_distillnet=dict(weight=1.0, agnostic=True, teachers=tuple(EYES), alignment_weight=0.5)
    )
    # The teachers together make it surer; again half of the clips that are trained on have such a box.
    config.eval.track_score = 0.3
    return variant_of(config, variant, rgb=rgb, quicktest=quicktest)
