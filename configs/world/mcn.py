"""Multimodal clustering (MCN) on the embedded world, with the quickstart's small encoders.

avssl pretrain --config configs/world/mcn.py --workdir runs/world-mcn
"""

from pathlib import Path

from avssl.config import load_config, variant_of


def get_config(variant: str = ""):
    config = load_config(str(Path(__file__).parents[1] / "quickstart.py"))
    config.objectives = dict(
        mcn=dict(
            weight=1.0, embedding_width=128, num_clusters=32, normalise=True, temperature=0.1,
            queue_rows=640,  # 20 half batches, as in the paper
            cluster_from_step=240, restart_every_steps=200,
        ),
    )  # fmt: skip
    config.eval.protocols = ("knn", "linear", "retrieval", "clustering")
    return variant_of(config, variant)
