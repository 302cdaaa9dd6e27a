"""The self-supervised objectives on the embedded worlds, beside random initialisation and labels.

Every row is trained for 800 steps with small encoders, those that claims compare with three seeds; the table
says how long it took. Finished rows are kept in `configs/ablations/results/world`, so any machine goes on.

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

STEPS = 800
HALF = STEPS // 2
SEEDS = (0, 1, 2)
# Of rows that no claim compares.
ALONE = (0,)

KNN_VIDEO = ("knn", "video", "top1")
KNN_AUDIO = ("knn", "audio", "top1")
LINEAR_VIDEO = ("linear", "video", "top1")
LINEAR_AUDIO = ("linear", "audio", "top1")
TWO_WAY = ("synchronization", "joint", "two_way")
DIRECTIONS = {"a→v": "audio->video", "v→a": "video->audio"}
VIEWPOINT = {name: ("spatial", way, "viewpoint_top1") for name, way in DIRECTIONS.items()}
CONTRAST_VIEWPOINT = {name: ("spatial", way, "contrast_top1") for name, way in DIRECTIONS.items()}
FAULTS = ("verification", "joint", "fault_auc")
MEAN_CIOU = ("localization", "video", "mean_ciou")
SEPARATED = ("localization", "video", "separated")
KMEANS_VIDEO = ("clustering", "video", "nmi")
KMEANS_AUDIO = ("clustering", "audio", "nmi")
LABELS_VIDEO = ("clustering", "video", "labels_nmi")
LABELS_AUDIO = ("clustering", "audio", "labels_nmi")
LABELS_JOINT = ("clustering", "joint", "labels_nmi")


def world(
    config: str, *overrides: str, name: str = "", start_from: str = "", seeds: tuple[int, ...] = SEEDS
) -> AblationRow:  # fmt: skip
    """`config`: OBJECTIVE[:VARIANT] of configs/world."""
    objective, colon, variant = config.partition(":")
    return AblationRow(
        name or objective,
        f"configs/world/{objective}.py{colon}{variant}",
        (f"steps={STEPS}", *overrides),
        seeds=seeds,
        start_from=start_from,
    )


def beats(sentence: str, row: str, other: str, key: tuple[str, str, str]) -> Claim:
    return Claim(sentence, Cell(row, *key), above=Cell(other, *key))


AVTS_PROTOCOLS = "eval.protocols=knn,linear,retrieval,synchronization"
CLUSTERING = "eval.protocols=knn,linear,retrieval,clustering"
SPATIAL = "eval.protocols=knn,linear,retrieval,spatial"
SPHERE_STEPS = 480  # of four viewpoints a clip, each longer than of the others
LOCALISATION = "eval.protocols=knn,linear,retrieval,localization,clustering"
VERIFICATION = "eval.protocols=knn,linear,retrieval,verification"
SOLVES = f"objectives.selavi.schedule_steps={STEPS}"
REFRESHES = f"objectives.xdc.refresh_every_steps={HALF}"
ON_SPHERE = (SPATIAL, f"steps={SPHERE_STEPS}")

ROWS = (
    world("supervised"),
    world("xid"),
    world("avc"),
    world(
        "avc", "objectives.avc.norm_heads=False", "objectives.avc.all_negatives=False",
        name="avc_published", seeds=ALONE,
    ),
    world("ave"),
    world("avts", "objectives.avts.hard_fraction=0", AVTS_PROTOCOLS, name="avts_easy"),
    world("avts", "objectives.avts.hard_from_step=0", AVTS_PROTOCOLS, name="avts_hard"),
    world("avts", f"objectives.avts.hard_from_step={HALF}", AVTS_PROTOCOLS, name="avts_curriculum"),
    world("supervised:long", name="supervised_long"),
    world("avid", name="avid_cross"),
    world("avid", "objectives.avid.cross=0", "objectives.avid.within=1", name="avid_self"),
    world("cma", start_from="avid_cross"),
    # As many steps in all as CMA after AVID.
    world("avid", name="avid_longer", start_from="avid_cross"),
    world("xid:faulty", VERIFICATION, name="xid_faulty"),
    world("robust_xid", VERIFICATION, name="robust_xid_faulty"),
    world("supervised:sphere", name="supervised_sphere"),
    world("avsa", *ON_SPHERE),
    world("avsa", *ON_SPHERE, "objectives.avsa.mode=hard", name="avsa_hard", seeds=ALONE),
    # The first stage alone: one viewpoint a clip among those of other clips.
    world(
        "avsa", *ON_SPHERE, f"objectives.avsa.alignment_from_step={SPHERE_STEPS}", name="avsa_avc"
    ),
    world("xdc", CLUSTERING, REFRESHES),
    world("xdc", CLUSTERING, REFRESHES, "objectives.xdc.variant=sdc", name="sdc"),
    world("selavi", CLUSTERING, SOLVES),
    world("selavi:unbalanced", CLUSTERING, SOLVES, name="selavi_unbalanced"),
    world(
        "selavi:unbalanced", CLUSTERING, SOLVES, "objectives.selavi.marginals=uniform",
        name="selavi_unbalanced_uniform",
    ),
    world(
        "selavi:unbalanced", CLUSTERING, SOLVES, "objectives.selavi.align=False",
        name="selavi_unbalanced_unaligned",
    ),
    world("mcn", CLUSTERING, f"objectives.mcn.cluster_from_step={HALF}"),
    world("desa", CLUSTERING, seeds=ALONE),
    world(
        "desa:codebook", CLUSTERING, f"objectives.desa.labels_at_step={HALF}",
        f"objectives.desa.decay_steps={HALF}", name="desa_codebook", seeds=ALONE,
    ),
    world("av_mae", "eval.protocols=knn,linear", seeds=ALONE),
    world("supervised:cells", name="supervised_cells"),
    world("dmc", LOCALISATION, start_from="supervised_cells"),
    world(
        "dmc:simplified", LOCALISATION, name="dmc_simplified", start_from="supervised_cells",
        seeds=ALONE,
    ),
    world("avc:pairs", LOCALISATION, name="avc_pairs", start_from="supervised_cells"),
)  # fmt: skip

COLUMNS = (
    Column(*LINEAR_VIDEO, label="linear video"),
    Column(*LINEAR_AUDIO, label="linear audio"),
    Column(*KNN_VIDEO, label="kNN video"),
    Column(*KNN_AUDIO, label="kNN audio"),
    Column("retrieval", "video->audio", "r1", label="R@1 v→a"),
    Column("retrieval", "audio->video", "r1", label="R@1 a→v"),
    Column(*TWO_WAY, label="in sync"),
    *(Column(*key, label=f"viewpoint {name}") for name, key in VIEWPOINT.items()),
    *(
        Column(*key, label=f"viewpoint by contrast {name}")
        for name, key in CONTRAST_VIEWPOINT.items()
    ),
    Column(*FAULTS, label="faulty pairs AUC"),
    *(
        Column(*FAULTS[:2], f"{FAULTS[2]}_{kind}", label=label)
        for kind, label in (
            ("swapped", "sound of another"),
            ("music", "music over it"),
            ("silence", "no sound"),
            ("off_screen", "not in view"),
        )
    ),
    Column(*KMEANS_VIDEO, label="NMI of k-means, video"),
    Column(*KMEANS_AUDIO, label="NMI of k-means, audio"),
    Column(*LABELS_VIDEO, label="NMI of labels, video"),
    Column(*LABELS_AUDIO, label="NMI of labels, audio"),
    Column(*LABELS_JOINT, label="NMI of labels, both"),
    *(
        Column("clustering", features, f"labels_{metric}", label=f"{told} of labels, {side}")
        for metric, told in (("ari", "ARI"), ("accuracy", "accuracy"))
        for features, side in (("video", "video"), ("audio", "audio"), ("joint", "both"))
    ),
    Column("localization", "video", "ciou", label="cIoU"),
    Column(*MEAN_CIOU, label="mean cIoU"),
    Column(*SEPARATED, label="sources told apart"),
)

CONTRASTIVE = (
    "xid", "avc", "ave", "avts_curriculum", "avid_cross", "cma", "robust_xid_faulty", "avsa", "mcn",
)  # fmt: skip

# What labels reach: on the quickstart's clips, but for those of other data.
BOUNDS = {"avsa": "supervised_sphere", "avts_curriculum": "supervised_long"}

CLAIMS = (
    beats(
        "AVTS: hard negatives beat easy ones alone on synchronisation",
        "avts_hard", "avts_easy", TWO_WAY,
    ),
    beats(
        "AVTS: the curriculum beats hard negatives from the start",
        "avts_curriculum", "avts_hard", TWO_WAY,
    ),
    Claim("AVTS reaches 80 % in sync", Cell("avts_curriculum", *TWO_WAY), above=0.8),
    *(
        beats(
            f"AVID: cross-modal beats within-modal on the linear probe of {modality}",
            "avid_cross", "avid_self", key,
        )
        for modality, key in (("video", LINEAR_VIDEO), ("audio", LINEAR_AUDIO))
    ),
    *(
        beats(f"CMA beats AVID of as many steps on the {modality} kNN", "cma", "avid_longer", key)
        for modality, key in (("video", KNN_VIDEO), ("audio", KNN_AUDIO))
    ),
    beats(
        "Robust-xID beats xID where 40 % of the pairs are faulty, linear probe of video",
        "robust_xid_faulty", "xid_faulty", LINEAR_VIDEO,
    ),
    Claim(
        "Robust-xID finds the faulty pairs, AUC 0.8",
        Cell("robust_xid_faulty", *FAULTS),
        above=0.8,
    ),
    *(
        Claim(
            f"AVSA beats negatives of other clips alone on the viewpoints, {name}",
            Cell("avsa", *VIEWPOINT[name]),
            above=Cell("avsa_avc", *CONTRAST_VIEWPOINT[name]),
        )
        for name in DIRECTIONS
    ),
    *(
        Claim(f"AVSA beats chance on the viewpoints, {name}", Cell("avsa", *key), above="chance")
        for name, key in VIEWPOINT.items()
    ),
    *(
        beats(
            f"XDC beats single-modality deep clustering on the linear probe of {modality}",
            "xdc", "sdc", key,
        )
        for modality, key in (("video", LINEAR_VIDEO), ("audio", LINEAR_AUDIO))
    ),
    *(
        Claim(
            f"SeLaVi's labels beat k-means on the same features, NMI of {modality}",
            Cell("selavi", *labels),
            above=Cell("selavi", *clusters),
        )
        for modality, labels, clusters in (
            ("video", LABELS_VIDEO, KMEANS_VIDEO),
            ("audio", LABELS_AUDIO, KMEANS_AUDIO),
        )
    ),
    *(
        claim
        for side, labels in (
            ("video", LABELS_VIDEO), ("audio", LABELS_AUDIO), ("both", LABELS_JOINT),
        )
        for claim in (
            Claim(f"SeLaVi reaches an NMI of 0.5, {side}", Cell("selavi", *labels), above=0.5),
            beats(
                f"SeLaVi, unequal classes: gaussian marginals beat uniform ones, NMI of {side}",
                "selavi_unbalanced", "selavi_unbalanced_uniform", labels,
            ),
            beats(
                f"SeLaVi, unequal classes: aligned heads beat unaligned ones, NMI of {side}",
                "selavi_unbalanced", "selavi_unbalanced_unaligned", labels,
            ),
        )
    ),
    Claim("DMC beats a box in the centre, mean cIoU", Cell("dmc", *MEAN_CIOU), above="chance"),
    Claim(
        "DMC beats random initialisation, mean cIoU",
        Cell("dmc", *MEAN_CIOU),
        above="random_init",
    ),
    beats("DMC beats AVC, mean cIoU", "dmc", "avc_pairs", MEAN_CIOU),
    beats("DMC tells two sources apart that AVC mixes", "dmc", "avc_pairs", SEPARATED),
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
            above=PartOfWay(1 / 3, Cell(BOUNDS.get(row, "supervised"), *LINEAR_AUDIO)),
        )
        for row in CONTRASTIVE
    ),
)  # fmt: skip

NOTES = (
    "xid_faulty and robust_xid_faulty learn from world:faulty: 16 % of its clips have the sound of "
    "another, 8 % music over their own, 8 % no sound, and 8 % show nothing of what sounds.",
    "Robust-xID finds the faulty pairs: under music the object is heard as well, so such a pair agrees "
    "still. With those at chance, an AUC of 80 % in all takes one of 87.5 % on the other kinds.",
    "Robust-xID beats xID: neither learns enough of the pairs in so few steps to tell a swapped sound from its "
    "own. After 800 steps of xid, as many of Robust-xID are behind as many more of xid, too (robust_after_xid "
    "and xid_faulty_longer, in the table of tries).",
    "SeLaVi, NMI of 0.5: the labels that both share follow the sound, which falls into groups first, and in so "
    "few steps the picture does not follow. In twice as many it comes nearer (selavi_twice_as_long, "
    "in the table of tries); fewer solves, or colours as they are, do not help.",
    "AVTS, curriculum: hard negatives alone teach from the first step here, so that a curriculum leaves fewer "
    "steps for them. At a constant rate it was ahead of them on the training part (the table of tries).",
    "AVID, linear probe of audio: both are near what labels reach.",
    "DMC against AVC: with the paper's routing the assignments stay nearly uniform (`video_assignment_entropy` "
    "of a run's metrics.jsonl), so the maps of its clusters are nearly one map, and a single map can find one "
    "source of two at most. Of its later form (dmc_simplified) the cluster that is nearest to the sound is now "
    "the objects, now what is around them: in the table of tries it is far above AVC once, and below "
    "random initialisation another time. A box in the centre lies between the two sources: what says something "
    "is random initialisation.",
    "AVSA, linear probe of video: labels themselves teach little there (supervised_sphere), as few views "
    "show what the label names.",
)


def get_ablation(variant: str = ""):
    ablation = Ablation(
        title="Objectives on the worlds", rows=ROWS, columns=COLUMNS, claims=CLAIMS, notes=NOTES
    )
    return variant_of(ablation, variant)
