"""Action recognition on HMDB51, split 1: as `ucf101.py`, with 51 classes.

  avssl finetune --config configs/finetune/hmdb51.py --init runs/avid --workdir runs/avid-hmdb51

Official lists and videos lie in data/hmdb51. `:split2` and `:split3` are the other splits; papers give the mean
of the three (`avssl evaluate --workdir RUN1 RUN2 RUN3 --average`).

Expected: 59.9 % after AVID on Kinetics, 64.1 % on AudioSet (released table). Measured: not run at this scale.
"""

from pathlib import Path

from avssl.config import load_config, variant_of

ROOT = "data/hmdb51"


def get_config(variant: str = ""):
    config = load_config(str(Path(__file__).parent / "ucf101.py"))
    config.steps = 5_600  # 50 epochs of 3,570 videos
    config.objectives.classify.num_classes = 51
    take_split(config, 1)
    return variant_of(
        config, variant, split2=lambda c: take_split(c, 2), split3=lambda c: take_split(c, 3)
    )


def take_split(config, number):
    config.data.source = config.eval.data = f"hmdb51:{ROOT}@train{number}"
    config.eval.test_data = f"hmdb51:{ROOT}@test{number}"
