"""A sound teacher and a picture student on the embedded world: logits of the one, labels of both.

The teacher is a finished run of `supervised.py`: its sounds are right more often than its pictures.

  avssl pretrain --config configs/world/supervised.py --workdir runs/world-supervised
  avssl pretrain --config configs/world/distill.py --workdir runs/world-distill

Other losses: `--config.objectives.distill.loss=hint` (or sp, pkt, rkd, ifd, cc); the variants
`configs/world/distill.py:crd` and `:cmc` contrast student and teacher against banks. From a store:

  avssl teach --teacher runs/world-supervised --encoder audio --data world:quickstart@train \
      --out runs/audio-targets --targets embedding,logits
  avssl pretrain --config configs/world/distill.py --workdir runs/world-distill-cached \
      --config.teachers.teacher.store=runs/audio-targets

`--config.teachers.teacher.run=''` is the baseline: a random network teaches. Measured: not yet.
"""

from pathlib import Path

from avssl.config import variant_of
from avssl.config_file import load_config


def get_config(variant: str = ""):
    config = load_config(str(Path(__file__).parents[1] / "quickstart.py"))
    config.teachers.teacher = dict(
        run="runs/world-supervised", encoder="audio", view="audio", targets=("embedding", "logits"),
        shapes=dict(embedding=(128,), logits=(10,)),
    )  # fmt: skip
    config.objectives = dict(distill=dict(weight=1.0))
    # No score between a picture and a sound is learnt.
    config.eval.protocols = ("knn", "linear")
    return variant_of(config, variant, crd=crd, cmc=cmc)


def crd(config):
    config.objectives = dict(crd=dict(weight=1.0, num_negatives=512))


def cmc(config):
    config.objectives = dict(cmc=dict(weight=1.0, num_negatives=512))
