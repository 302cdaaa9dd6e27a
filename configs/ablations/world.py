"""The self-supervised objectives on the embedded worlds, beside random initialisation and labels.

Every row is trained for 640 steps with small encoders, under five minutes on two CPU cores; rows that a claim
compares get three seeds. Finished rows are kept in `configs/ablations/results/world`, so any machine goes on.

  avssl ablate --config configs/ablations/world.py --workdir runs/ablations --results RESULTS.md
"""

from avssl.ablate.plan import (
    Ablation,
    AblationRow,
    Cell,
    Claim,
    Column,
    PartOfWay,
    variant_of,
)

SHORT = ("steps=640",)
SEEDS = (0, 1, 2)

KNN_VIDEO = ("knn", "video", "top1")
KNN_AUDIO = ("knn", "audio", "top1")
LINEAR_VIDEO = ("linear", "video", "top1")
LINEAR_AUDIO = ("linear", "audio", "top1")
TWO_WAY = ("synchronization", "joint", "two_way")
VIEWPOINT = ("spatial", "audio->video", "viewpoint_top1")
CONTRAST_VIEWPOINT = ("spatial", "audio->video", "contrast_top1")
FAULTS = ("verification", "joint", "fault_auc")
POINTING = ("localization", "video", "pointing")
CIOU = ("localization", "video", "mean_ciou")


def world(objective: str, *overrides: str, name: str = "", start_from: str = "") -> AblationRow:
    return AblationRow(
        name or objective,
        f"configs/world/{objective}.py",
        (*SHORT, *overrides),
        seeds=SEEDS,
        start_from=start_from,
    )


AVTS_PROTOCOLS = "eval.protocols=knn,linear,retrieval,synchronization"
CLUSTERING = "eval.protocols=knn,linear,retrieval,clustering"
ON_FAULTY = (
    "data.source=world:faulty@train",
    "eval.data=world:quickstart@train",
    "eval.test_data=world:quickstart@test",
    "eval.protocols=knn,linear,retrieval,verification",
)
SPATIAL = "eval.protocols=knn,linear,retrieval,spatial"

ROWS = (
    AblationRow("supervised", "configs/world/supervised.py", SHORT, seeds=SEEDS),
    world("xid"),
    world("avc"),
    world("ave"),
    world("avts", "objectives.avts.hard_fraction=0", AVTS_PROTOCOLS, name="avts_easy"),
    world("avts", "objectives.avts.hard_from_step=0", AVTS_PROTOCOLS, name="avts_hard"),
    world("avts", "objectives.avts.hard_from_step=320", AVTS_PROTOCOLS, name="avts_curriculum"),
    world("avid", name="avid_cross"),
    world("avid", "objectives.avid.cross=0", "objectives.avid.within=1", name="avid_self"),
    world("cma", start_from="avid_cross"),
    # As many steps in all as CMA after AVID.
    world("avid", name="avid_longer", start_from="avid_cross"),
    world("xid", *ON_FAULTY, name="xid_faulty"),
    world("robust_xid", ON_FAULTY[-1], name="robust_xid_faulty"),
    world("avsa", SPATIAL, "objectives.avsa.alignment_from_step=240"),
    world(
        "avsa", SPATIAL, "objectives.avsa.alignment_from_step=240", "objectives.avsa.mode=avc",
        name="avsa_avc",
    ),
)  # fmt: skip

COLUMNS = (
    Column(*LINEAR_VIDEO, label="linear video"),
    Column(*LINEAR_AUDIO, label="linear audio"),
    Column(*KNN_VIDEO, label="kNN video"),
    Column(*KNN_AUDIO, label="kNN audio"),
    Column("retrieval", "video->audio", "r1", label="R@1 v→a"),
    Column("retrieval", "audio->video", "r1", label="R@1 a→v"),
    Column(*TWO_WAY, label="in sync"),
    Column(*VIEWPOINT, label="viewpoint"),
    Column(*CONTRAST_VIEWPOINT, label="viewpoint (contrast)"),
    Column(*FAULTS, label="faulty pairs AUC"),
)

CONTRASTIVE = (
    "xid", "avc", "ave", "avts_curriculum", "avid_cross", "cma", "robust_xid_faulty", "avsa",
)  # fmt: skip

CLAIMS = (
    Claim(
        "AVTS: hard negatives beat easy ones alone on synchronisation",
        Cell("avts_hard", *TWO_WAY),
        above=Cell("avts_easy", *TWO_WAY),
    ),
    Claim(
        "AVTS: the curriculum beats hard negatives from the start",
        Cell("avts_curriculum", *TWO_WAY),
        above=Cell("avts_hard", *TWO_WAY),
    ),
    Claim("AVTS reaches 80 % in sync", Cell("avts_curriculum", *TWO_WAY), above=0.8),
    Claim(
        "AVID: cross-modal beats within-modal on the linear probe of video",
        Cell("avid_cross", *LINEAR_VIDEO),
        above=Cell("avid_self", *LINEAR_VIDEO),
    ),
    Claim(
        "AVID: cross-modal beats within-modal on the linear probe of audio",
        Cell("avid_cross", *LINEAR_AUDIO),
        above=Cell("avid_self", *LINEAR_AUDIO),
    ),
    Claim(
        "CMA beats AVID of as many steps on the video kNN",
        Cell("cma", *KNN_VIDEO),
        above=Cell("avid_longer", *KNN_VIDEO),
    ),
    Claim(
        "CMA beats AVID of as many steps on the audio kNN",
        Cell("cma", *KNN_AUDIO),
        above=Cell("avid_longer", *KNN_AUDIO),
    ),
    Claim(
        "Robust-xID beats xID where 40 % of the pairs are faulty, linear probe of video",
        Cell("robust_xid_faulty", *LINEAR_VIDEO),
        above=Cell("xid_faulty", *LINEAR_VIDEO),
    ),
    Claim(
        "Robust-xID finds the faulty pairs, AUC 0.8",
        Cell("robust_xid_faulty", *FAULTS),
        above=0.8,
    ),
    Claim(
        "AVSA beats negatives of other clips alone on the viewpoints",
        Cell("avsa", *VIEWPOINT),
        above=Cell("avsa_avc", *CONTRAST_VIEWPOINT),
    ),
    *(
        Claim(
            f"{row}: 20 points above random initialisation on the linear probe of video",
            Cell(row, *LINEAR_VIDEO),
            above="random_init",
            margin=0.2,
        )
        for row in CONTRASTIVE
    ),
    *(
        Claim(
            f"{row}: a third of the way to the labels on the linear probe of audio",
            Cell(row, *LINEAR_AUDIO),
            above=PartOfWay(1 / 3, Cell("supervised", *LINEAR_AUDIO)),
        )
        for row in CONTRASTIVE
    ),
)


def get_ablation(variant: str = ""):
    ablation = Ablation(title="Objectives on the worlds", rows=ROWS, columns=COLUMNS, claims=CLAIMS)
    return variant_of(ablation, variant)
