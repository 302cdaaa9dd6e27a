"""MM-DistillNet at the scale of MAVD: detectors of light, depth and warmth teach one with eight microphones.

Valverde, Hurtado & Valada 2021 (arXiv 2103.01353; code: robot-learning-freiburg/MM-DistillNet): 768 px, 80 mel
bands (FFT of 1024, hop of 256 samples at 44.1 kHz), Adam 1e-4, decay 5e-4, batch 2, 50 epochs; 113,283 frames
is from memory. Departures: `small_detector` as wide as EfficientDet-D2's pyramid for EfficientDet-D2; the rate
falls along a cosine where it is divided by ten on a plateau; decibels are absolute, there relative to the
clip's maximum. A teacher is a run of `:teacher` on boxes of cars in what its eye sees (theirs are EfficientDets
on other data): of light those of VOC 2007 (100,000 steps of ours are 280 passes over its cars); of depth and
warmth your own, as no such set has a reader: a manifest with the columns `path,stream,boxes`, of pictures like
those of MAVD (`avssl data guide mavd`). MAVD has no labels: the published numbers are by what the teachers find
together, `--truth teachers`; `--released mm_distillnet` counts as their evaluator does.

`configs/distill/mm_distillnet.py:mixed` is a variant of the released code: the mean of two sounds, with the
boxes of both clips. Half of the clips are mixed (theirs is not known): the alignment takes the others alone.

  avssl pretrain --config configs/distill/mm_distillnet.py:teacher --workdir runs/mavd-rgb \
      --config.data.source=voc2007:/data/voc2007@car_trainval --config.steps=100000
  avssl pretrain --config configs/distill/mm_distillnet.py:teacher --workdir runs/mavd-depth \
      --config.data.source=manifest:/data/depth.csv --config.views.video.stream=depth --config.steps=100000
  avssl pretrain --config configs/distill/mm_distillnet.py:teacher --workdir runs/mavd-thermal \
      --config.data.source=manifest:/data/thermal.csv --config.views.video.stream=thermal --config.steps=100000
  avssl pretrain --config configs/distill/mm_distillnet.py --workdir runs/mavd-mm
  avssl evaluate --workdir runs/mavd-mm --test-data mavd:data/mavd@test_all --protocols detection \
      --truth teachers --released mm_distillnet

Expected (mean over thresholds 0.5 to 0.9 of the AP, as published): 61.62, StereoSoundNet of RGB 44.05.
Measured: not run at this scale.
"""

from avssl import config as shared
from avssl.config import base, variant_of

SIZE = 768
EYES = {"rgb": "", "depth": "depth", "thermal": "thermal"}
LEVELS = (3, 4, 5, 6, 7)
POSITIONS = sum((SIZE // 2**level) ** 2 for level in LEVELS)
DETECTOR = dict(
    num_classes=1, widths=(64, 128, 256, 512), blocks=(2, 2, 2, 2), pyramid_width=112,
    num_fusions=5, head_depth=3, levels=LEVELS,
)  # fmt: skip


def mixed(config):
    config.data.mixup_weight, config.data.mixup_share = 0.5, 0.5


def teacher(config):
    """On data that know their boxes; of another eye than light's by views.video.stream."""
    config.teachers, config.objectives = {}, dict(detect=dict(weight=1.0, agnostic=True))
    config.encoders = dict(video=config.encoders.video)
    config.views = dict(video=dict(config.views.video, objects=16, crop="random", flip=True))


def quicktest(config):
    shared.quicktest(config)
    side = config.views.video.size
    for encoder in config.encoders.values():
        encoder.update(levels=(3, 4, 5), pyramid_width=8, num_fusions=1, head_depth=1)
    if "audio" in config.encoders:
        config.encoders.audio.update(height=side, width=side)
        # No world has eight microphones.
        config.views.audio.channels = 2
    config.data.source = config.eval.data = "world:tiny_vehicles@train"
    config.eval.test_data = "world:tiny_vehicles@test"


def get_config(variant: str = ""):
    config = base()
    config.steps = 2_832_075  # 50 epochs of 113,283 frames
    config.batch_size = 2
    config.precision = "bf16"
    config.data.source = "mavd:data/mavd@train_all"
    config.data.workers = 8
    config.data.num_records = 113_283
    config.views.audio = dict(modality="audio", seconds=1.0, rate=44100, channels=8)
    config.encoders.audio = dict(
        name="small_detector_audio", modality="audio", height=SIZE, width=SIZE,
        frontend=dict(
            name="log_mel", num_mels=80, fft_size=1024, hop_seconds=256 / 44100, mean=-40.0, std=20.0
        ),
        **DETECTOR,
    )  # fmt: skip
    config.encoders.video = dict(
        name="small_detector_video", modality="video", frontend=dict(name="rgb"), **DETECTOR
    )
    for name, stream in EYES.items():
        view = "video" if name == "rgb" else name
        config.views[view] = dict(
            modality="video", frames=1, fps=1.0, size=SIZE, align="center", crop="center",
            flip=False, stream=stream,
        )  # fmt: skip
        config.teachers[name] = dict(
            run=f"runs/mavd-{name}", encoder="video", view=view, targets=("boxes", "attention"),
            precision="bf16", shapes=dict(boxes=(16, 6), attention=(POSITIONS,)),
        )  # fmt: skip
    config.objectives.mm_distillnet = dict(weight=1.0, agnostic=True, teachers=tuple(EYES))
    config.optimizer.name = "adam"
    config.optimizer.learning_rate = 1e-4
    config.optimizer.weight_decay = 5e-4
    config.eval.protocols = ()  # by `avssl evaluate`, on the data that it names
    return variant_of(config, variant, mixed=mixed, teacher=teacher, quicktest=quicktest)
