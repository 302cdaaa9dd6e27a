"""Minimising disagreement (de Sa 1993) in its gradient form on the embedded world, with small encoders.

  avssl pretrain --config configs/world/desa.py --workdir runs/world-desa

`:codebook` is the algorithm of 1993, beside xid, which trains the encoders that it classifies the features of:

  avssl pretrain --config configs/world/desa.py:codebook --workdir runs/world-desa-codebook
"""

from pathlib import Path

from avssl.config import load_config, variant_of


def get_config(variant: str = ""):
    config = load_config(str(Path(__file__).parents[1] / "quickstart.py"))
    xid = config.objectives.xid.to_dict()
    config.objectives = dict(desa=dict(weight=1.0, projection=(128, 64)))
    config.eval.protocols = ("knn", "linear", "retrieval", "clustering")

    def codebook(config):
        config.objectives = dict(
            xid=xid,
            desa=dict(weight=1.0, form="codebook", labels_at_step=240, decay_steps=240),
        )

    return variant_of(config, variant, codebook=codebook)
