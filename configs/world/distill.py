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

from avssl.config import load_config, variant_of

PAPER = Path(__file__).parents[1] / "distill" / "distill.py"


def taught(config, name, side):
    """name: of the variant at paper scale, whose objectives it has. `side`: audio, image or both."""
    add_teacher(config, "teacher", "video" if side == "image" else "audio")
    if side == "both":
        add_teacher(config, "image", "video")
    config.objectives = load_config(f"{PAPER}:{name}").objectives
    for objective, own in config.objectives.items():
        del own.num_classes
        if not objective.startswith("distill"):
            own.num_negatives = 512


def add_teacher(config, name, modality):
    config.teachers[name] = dict(
        run="runs/world-supervised", encoder=modality, view=modality,
        targets=("embedding", "logits"), shapes=dict(embedding=(128,), logits=(10,)),
    )  # fmt: skip


def get_config(variant: str = ""):
    config = load_config(str(Path(__file__).parents[1] / "quickstart.py"))
    taught(config, "", "audio")
    # No score between a picture and a sound is learnt.
    config.eval.protocols = ("classification", "neighbours", "knn", "linear")
    variants = {
        name: partial(taught, name=name, side=side)
        for loss in ("", "crd", "cmc")
        for side in ("audio", "image", "both")
        if (name := "_".join(part for part in (loss, side) if part not in ("", "audio")))
    }
    return variant_of(config, variant, **variants)
