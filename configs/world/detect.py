"""A detector of vehicles on the embedded world: the teacher of those that only hear (`mm_distillnet.py`).

  avssl pretrain --config configs/world/detect.py --workdir runs/world-detect

`configs/world/detect.py:depth` and `:thermal` look through those eyes, which night and fog do not blind.
Measured: RESULTS.md, by `configs/ablations/students.py`.
"""

from avssl.config import base, variant_of

SIZE = 80  # of 96 pixels; a twelfth of the vehicles are too small for any anchor then


def depth(config):
    config.views.video.stream = "depth"
    config.views.video.update(brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0)


def thermal(config):
    depth(config)
    config.views.video.stream = "thermal"


def get_config(variant: str = ""):
    config = base()
    config.steps = 1200
    config.batch_size = 32
    config.data.source = "world:vehicles@train"
    config.data.cache = "memory"
    config.views.video = dict(
        modality="video", frames=1, fps=8.0, size=SIZE, crop_area=(0.5, 1.0), objects=6,
        brightness=0.4, contrast=0.4, saturation=0.4, hue=0.2,
    )  # fmt: skip
    config.encoders.video = dict(
        name="small_detector_video", modality="video", num_classes=1, levels=(2, 3, 4),
        frontend=dict(name="rgb"),
    )  # fmt: skip
    config.objectives.detect = dict(weight=1.0, agnostic=True)
    config.optimizer.name = "adamw"
    config.optimizer.learning_rate = 2e-3
    config.optimizer.warmup_steps = 50
    config.optimizer.weight_decay = 1e-2
    config.optimizer.clip_norm = 10.0
    config.checkpoint.every_steps = 400
    config.eval.data = "world:vehicles@train"
    config.eval.test_data = "world:vehicles@test"
    config.eval.protocols = ("detection",)
    return variant_of(config, variant, depth=depth, thermal=thermal)
