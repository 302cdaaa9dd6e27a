"""Distillation across modalities at the scale of the multi-modal table: sound teaches R(2+1)D on UCF51.

Losses and their weights as released in RepDistiller (Tian, Krishnan & Isola 2020, arXiv 1910.10699), and its
schedule: SGD 0.05, momentum 0.9, decay 5e-4, batch 64, 240 epochs; here the rate falls along a cosine where it
is divided by ten at 150, 180 and 210. Student and clips as in CCL (Chen et al. 2021): R(2+1)D with one block a
stage, 16 frames at 112 px, crops of 25 to 100 %. Departures from that student: its stem has 83 midplanes (45
here), its shortcuts are factored, the second convolution of a block has midplanes of its own, and it starts
from PyTorch's default distribution: 14,365,303 parameters without a classifier, 12,487,005 here. UCF51 is the
51 classes of UCF101 that have sound; 4,893 training clips of split 1 is from memory. The teacher is any run
with the objective `supervised` on the same classes and sounds of the same length and rate (CCL's is a CNN14 on
AudioSet, its features taken once for all).

  avssl pretrain --config configs/world/supervised.py --workdir runs/ucf51-audio \
      --config.data.source=tfds:data/ucf51@train --config.objectives.supervised.num_classes=51 \
      --config.views.audio.seconds=2.0 --config.encoders.audio.name=resnet18_audio
  avssl pretrain --config configs/distill/distill.py --workdir runs/ucf51-kd \
      --config.teachers.teacher.run=runs/ucf51-audio --config.data.source=tfds:data/ucf51@train

`--config.objectives.distill.loss=hint` (or sp, pkt, rkd, ifd, cc, kernel_cc) for the others; the variants
`configs/distill/distill.py:crd` and `:cmc` for those of banks. `:image` has the teacher of one frame of the
clip, `:both` the two, and averages what they transfer; so have `:crd_image`, `:crd_both`, `:cmc_image` and
`:cmc_both`, where the second teacher has banks of its own, those of `crd__image`, at half the weight as the
first. Here it learns the same labels from scratch (CCL's is torchvision's ResNet-34 on ImageNet):

  avssl pretrain --config configs/distill/distill.py:image_teacher --workdir runs/ucf51-image \
      --config.data.source=tfds:data/ucf51@train
  avssl pretrain --config configs/distill/distill.py:image --workdir runs/ucf51-kd-image \
      --config.data.source=tfds:data/ucf51@train
  avssl pretrain --config configs/distill/distill.py:crd_both --workdir runs/ucf51-crd-both \
      --config.data.source=tfds:data/ucf51@train

From a store (`avssl teach`), add `--config.teachers.teacher.store=STORE`: the sound is then not decoded either.

Expected (CCL's table, top-1 on UCF51, as published): student alone 57.5, FitNet 48.4 by sound, 62.4 by both.
Measured: not run at this scale.
"""

from functools import partial
from typing import Any

from avssl.config import base, variant_of

# The weight of the transfer, which several teachers share.
BANKS = {"crd": 0.8, "cmc": 1.0}


def get_config(variant: str = ""):
    config = base()
    config.batch_size = 64
    config.steps = 18_350  # 240 epochs of 4,893 clips
    config.precision = "bf16"
    config.data.source = "tfds:data/ucf51@train"
    config.data.workers = 8
    config.data.num_records = 4_893
    config.views.video = dict(
        modality="video", frames=16, fps=25.0, size=112, crop_area=(0.25, 1.0)
    )
    config.views.audio = dict(modality="audio", seconds=2.0, rate=24000)
    config.encoders.video = dict(
        name="r2plus1d18_torchvision", modality="video", blocks=(1, 1, 1, 1),
        frontend=dict(
            name="rgb", mean=(0.4345, 0.4051, 0.3775), std=(0.2768, 0.2713, 0.2737)
        ),
    )  # fmt: skip
    # For `run=''` alone, a random teacher: the encoder of a run is what it was there.
    config.encoders.audio = dict(
        name="resnet18_audio", modality="audio", frontend=dict(name="log_mel", num_mels=64)
    )  # fmt: skip
    taught(config, "distill", "audio")
    config.optimizer.name = "sgd"
    config.optimizer.arguments = dict(momentum=0.9)
    config.optimizer.learning_rate = 0.05
    config.optimizer.weight_decay = 5e-4
    config.eval.protocols = ()  # by `avssl evaluate`, on the data that it names
    variants = {
        "_".join(part for part in (objective, side) if part not in ("distill", "audio")): partial(
            taught, objective=objective, side=side
        )
        for objective in ("distill", *BANKS)
        for side in ("audio", "image", "both")
    }
    del variants[""]
    return variant_of(config, variant, image_teacher=image_teacher, **variants)


def taught(config, objective, side):
    """`side`: audio, image or both."""
    add_teacher(config, "teacher", "image" if side == "image" else "audio")
    own: dict[str, Any] = dict(weight=1.0, num_classes=51)
    objectives = {objective: own}
    if side == "both":
        add_teacher(config, "image", "image")
        if objective in BANKS:
            own["transfer_weight"] = BANKS[objective] / 2
            # The labels are the first one's.
            objectives[f"{objective}__image"] = dict(own, teacher="image", label_weight=0.0)
        else:
            own["also"] = ("image",)
    config.objectives = objectives


def add_teacher(config, name, side):
    if side == "image":
        frame(config)
    config.teachers[name] = dict(
        run=f"runs/ucf51-{side}", encoder=side, view="frame" if side == "image" else "audio",
        targets=("embedding", "logits"), precision="bf16",
        shapes=dict(embedding=(512,), logits=(51,)),
    )  # fmt: skip


def frame(config):
    """One of its own, drawn anew for each step."""
    config.views.frame = dict(modality="video", frames=1, fps=25.0, size=112)
    config.encoders.image = dict(name="resnet34_video", modality="video", frontend=dict(name="rgb"))


def image_teacher(config):
    frame(config)
    config.views, config.encoders = (
        dict(frame=config.views.frame), dict(image=config.encoders.image)
    )  # fmt: skip
    config.teachers = {}
    config.objectives = dict(
        classify=dict(weight=1.0, video_view="frame", video_encoder="image", num_classes=51)
    )
