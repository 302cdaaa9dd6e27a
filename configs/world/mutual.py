"""Mutual learning on the embedded world: a network of sound and picture, and one of sound, teach each other.

Both learn the tags (here one a clip) from nothing; after 100 steps they begin to learn from each other as well.
The table's `tagging` has the student (`audio`) and the teacher (`joint`).

  avssl pretrain --config configs/world/mutual.py --workdir runs/world-mutual

`configs/world/mutual.py:visual` has a student that sees. For comparison `:one_way`, where the student alone
learns from the other, and `:alone`, where nobody does.
Measured: RESULTS.md, by `configs/ablations/students.py`.
"""

from pathlib import Path

from avssl.config import load_config, variant_of


def get_config(variant: str = ""):
    config = load_config(str(Path(__file__).parents[1] / "quickstart.py"))
    config.encoders.teacher = config.encoders.audio.to_dict()
    config.objectives = dict(
        mutual=dict(
            weight=1.0, student="audio", fusion_width=128, transfer_warmup_steps=100,
            # Of a sum over 128 features, where the others are sums over 10 tags. On the first 80 % of the
            # training part, scored on its last 20 %, a student that sees has an mAP of 59 % alone; of 48 %
            # with 0.008 here and 54 % one-way, of 56 and 63 % with 0.001. 0.1 leaves it near chance.
            single_modal_weight=0.001,
        )
    )  # fmt: skip
    config.eval.protocols = ("tagging", "knn", "linear")
    return variant_of(config, variant, visual=visual, one_way=one_way, alone=alone)


def visual(config):
    config.encoders.teacher = config.encoders.video.to_dict()
    config.objectives.mutual.student = "video"


def one_way(config):
    config.objectives.mutual.one_way = True


def alone(config):
    config.objectives.mutual.update(single_modal_weight=0.0, cross_modal_weight=0.0)
