"""A small ablation, as an example: two objectives in their quicktest, and two claims, in half a minute.

avssl ablate --config configs/ablations/quick.py --workdir runs/quick-ablation --results quick.md
"""

from avssl.ablate.plan import Ablation, AblationRow, Cell, Claim, Column, variant_of

KNN_VIDEO = ("knn", "video", "top1")
KNN_AUDIO = ("knn", "audio", "top1")


def get_ablation(variant: str = ""):
    only_knn = ("eval.protocols=knn",)
    ablation = Ablation(
        title="Quick ablation",
        rows=(
            AblationRow("xid", "configs/world/xid.py:quicktest", only_knn),
            AblationRow("avc", "configs/world/avc.py:quicktest", only_knn),
        ),
        columns=(
            Column(*KNN_VIDEO, label="kNN video"),
            Column(*KNN_AUDIO, label="kNN audio"),
        ),
        claims=(
            Claim(
                "xID beats AVC on the video kNN",
                Cell("xid", *KNN_VIDEO),
                above=Cell("avc", *KNN_VIDEO),
            ),
            Claim(
                "xID is 20 points above random initialisation on the video kNN",
                Cell("xid", *KNN_VIDEO),
                above="random_init",
                margin=0.2,
            ),
        ),
    )
    return variant_of(ablation, variant)
