"""Self-labelling (SeLaVi) on the embedded world, with small encoders: 10 clusters, 2 heads.

Hue and saturation are drawn anew in every view: of fresh networks it is the colours of the backgrounds that
clips fall into groups by, and labels that both modalities once name so stay what they are.

  avssl pretrain --config configs/world/selavi.py --workdir runs/world-selavi

`:unbalanced` is the world whose first class is ten times as frequent as its last, with gaussian marginals.
Their spread is 0.5, at which the largest of ten clusters has about 7 times the mass of the smallest (median of
draws; 1.4 times at the published 0.1, which would be equal marginals in all but name), and the draws are the
sizes: of their inverses, as released, three heads in ten have one at its bound, which takes 45 % of all clips.

  avssl pretrain --config configs/world/selavi.py:unbalanced --workdir runs/world-selavi-unbalanced
"""

from pathlib import Path

from avssl import config as shared
from avssl.config import load_config, variant_of


def get_config(variant: str = ""):
    config = load_config(str(Path(__file__).parents[1] / "quickstart.py"))
    config.views.video.update(hue=0.5, saturation=0.5)
    config.objectives = dict(
        selavi=dict(
            weight=1.0,
            num_clusters=10,
            num_heads=2,
            head_width=128,
            num_solves=20,
            schedule_steps=config.steps,
        )
    )
    config.eval.protocols = ("knn", "linear", "retrieval", "clustering")
    return variant_of(config, variant, unbalanced=unbalanced, quicktest=quicktest)


def unbalanced(config):
    config.data.source = "world:unbalanced@train"
    config.eval.data = "world:unbalanced@train"
    config.eval.test_data = "world:unbalanced@test"
    config.objectives.selavi.marginals = "gaussian"
    config.objectives.selavi.marginal_spread = 0.5
    config.objectives.selavi.sizes_as_drawn = True


def quicktest(config):
    shared.quicktest(config)
    # The smallest world has 32 clips.
    config.objectives.selavi.num_clusters = 4
    config.objectives.selavi.schedule_steps = config.steps
