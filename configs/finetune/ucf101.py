"""Action recognition on UCF101, split 1: R(2+1)D-18 of AVID, 8 frames at 224 px, 10 windows x 3 crops a video.

The protocol that self-supervised video encoders are compared by. Morgado et al. 2021 (AVID, arXiv 2004.12943)
fine-tune the whole network; its schedule is recalled, not verified: Adam 1e-4, batch 32, a dropout of 0.5
before the linear layer. Of the released evaluation 10 windows are known, not the crops.

  avssl finetune --config configs/finetune/ucf101.py --init runs/avid --workdir runs/avid-ucf101

Official lists and videos lie in data/ucf101 (`avssl data build` writes what trains faster). `:split2` and
`:split3` are the other splits, each in a folder of its own; papers give the mean of the three, which
`avssl evaluate --workdir RUN1 RUN2 RUN3 --average` takes of their results. `:frozen` leaves
the encoder as it is, BatchNorm too: a linear probe by SGD. Other encoders, frames and sizes are flags.

Expected: 86.9 % after AVID on Kinetics, 91.0 % on AudioSet (released table). Measured: not run at this scale.
"""

from avssl.config import base, variant_of

ROOT = "data/ucf101"


def get_config(variant: str = ""):
    config = base()
    config.steps = 15_000  # 50 epochs of 9,537 videos
    config.batch_size = 32
    config.precision = "bf16"
    config.data.workers = 8
    config.views.video = dict(
        modality="video", frames=8, fps=16.0, size=224, crop_area=(0.3, 1.0),
        brightness=0.2, contrast=0.2, saturation=0.2,
    )  # fmt: skip
    config.encoders.video = dict(name="r2plus1d18", modality="video", frontend=dict(name="rgb"))
    config.objectives.classify = dict(
        weight=1.0, modalities=("video",), num_classes=101, dropout=0.5
    )
    config.optimizer.name = "adamw"
    config.optimizer.learning_rate = 1e-4
    config.optimizer.weight_decay = 1e-4
    config.checkpoint.every_steps = 3000
    config.eval.protocols = ("classification",)
    config.eval.clips, config.eval.crops = 10, 3
    take_split(config, 1)
    return variant_of(
        config, variant, split2=lambda c: take_split(c, 2), split3=lambda c: take_split(c, 3),
        frozen=frozen,
    )  # fmt: skip


def take_split(config, number):
    config.data.source = config.eval.data = f"ucf101:{ROOT}@trainlist0{number}"
    config.eval.test_data = f"ucf101:{ROOT}@testlist0{number}"


def frozen(config):
    config.optimizer.frozen = ("^encoders/",)
    config.optimizer.learning_rate = 1e-3
