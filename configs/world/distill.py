"""A student of pictures on the embedded world, taught by sound, by pictures, or by both.

The teachers are the encoders of a finished run of `supervised.py`: its sounds are right more often than its
pictures.

  avssl pretrain --config configs/world/supervised.py --workdir runs/world-supervised
  avssl pretrain --config configs/world/distill.py --workdir runs/world-distill

Other losses: `--config.objectives.distill.loss=hint` (or sp, pkt, rkd, ifd, cc).
`configs/world/distill.py:image` has the teacher of pictures, `:both` the two, whose losses are averaged. `:crd`
and `:cmc` contrast student and teacher against banks, also `:crd_image`, `:crd_both` and so on: the second
teacher has banks of its own there, those of `crd__image`, at half the weight as the first. From a store:

  avssl teach --teacher runs/world-supervised --encoder audio --data world:quickstart@train \
      --out runs/audio-targets --targets embedding,logits
  avssl pretrain --config configs/world/distill.py --workdir runs/world-distill-cached \
      --config.teachers.teacher.store=runs/audio-targets

`--config.teachers.teacher.run=''` is the baseline: a random network teaches.
Measured: RESULTS.md, by `configs/ablations/distillation.py`.
"""

from functools import partial
from pathlib import Path
from typing import Any

from avssl.config import load_config, variant_of

# The weight of the transfer, which several teachers share.
BANKS = {"crd": 0.8, "cmc": 1.0}


def taught(config, objective, side):
    """`side`: audio, image or both."""
    modality = "video" if side == "image" else "audio"
    add_teacher(config, "teacher", modality)
    own: dict[str, Any] = dict(weight=1.0)
    if objective in BANKS:
        own["num_negatives"] = 512
    objectives = {objective: own}
    if side == "both":
        add_teacher(config, "image", "video")
        if objective in BANKS:
            own["transfer_weight"] = BANKS[objective] / 2
            # The labels are the first one's.
            objectives[f"{objective}__image"] = dict(own, teacher="image", label_weight=0.0)
        else:
            own["also"] = ("image",)
    config.objectives = objectives


def add_teacher(config, name, modality):
    config.teachers[name] = dict(
        run="runs/world-supervised", encoder=modality, view=modality,
        targets=("embedding", "logits"), shapes=dict(embedding=(128,), logits=(10,)),
    )  # fmt: skip


def get_config(variant: str = ""):
    config = load_config(str(Path(__file__).parents[1] / "quickstart.py"))
    taught(config, "distill", "audio")
    # No score between a picture and a sound is learnt.
    config.eval.protocols = ("classification", "neighbours", "knn", "linear")
    variants = {
        "_".join(part for part in (objective, side) if part not in ("distill", "audio")): partial(
            taught, objective=objective, side=side
        )
        for objective in ("distill", *BANKS)
        for side in ("audio", "image", "both")
    }
    del variants[""]
    return variant_of(config, variant, **variants)
