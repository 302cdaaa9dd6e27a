"""What was tried where a claim of `world.py` does not hold, on the training parts of its worlds alone.

Each row is trained on the first 80 % of a training part and scored on the last 20 %, so no choice is made on
what the claims are measured on. Finished rows are kept in `configs/ablations/results/tries`.

  avssl ablate --config configs/ablations/tries.py --workdir runs/tries --results RESULTS.md
"""

from avssl.ablate.plan import Ablation, AblationRow, Column, variant_of

STEPS = 800


def tried(
    config: str, world: str, protocols: str, *overrides: str, name: str, start_from: str = "",
    learns_from: str = "",
) -> AblationRow:  # fmt: skip
    """`config`: OBJECTIVE[:VARIANT] of configs/world; `learns_from`: a world with other pairs of them."""
    objective, colon, variant = config.partition(":")
    return AblationRow(
        name,
        f"configs/world/{objective}.py{colon}{variant}",
        (
            f"data.source=world:{learns_from or world}@train[:80%]",
            f"eval.data=world:{world}@train[:80%]",
            f"eval.test_data=world:{world}@train[80%:]",
            f"eval.protocols={protocols}",
            f"steps={STEPS}",
            *overrides,
        ),
        start_from=start_from,
    )


LOCALISATION = "linear,localization"
VERIFICATION = "linear,verification"
SYNCHRONISATION = "linear,synchronization"
CLUSTERING = "linear,clustering"
# In the middle of the sound, as the papers see it.
ONE_FRAME = ("views.video.frames=1", "views.video.fps=25.0", "views.video.align=center")
SOLVES = f"objectives.selavi.schedule_steps={STEPS}"
FEW_SOLVES = (SOLVES, "objectives.selavi.num_solves=5")

ROWS = (
    tried("supervised:cells", "quickstart", "linear", name="labels_cells"),
    tried(
        "dmc", "pairs", LOCALISATION, "objectives.dmc.norm_maps=True", name="dmc_trained",
        start_from="labels_cells",
    ),
    tried(
        "dmc", "pairs", LOCALISATION, name="dmc_trained_as_published", start_from="labels_cells"
    ),
    tried(
        "dmc:simplified", "pairs", LOCALISATION, name="dmc_trained_simplified",
        start_from="labels_cells",
    ),
    tried("avc:pairs", "pairs", LOCALISATION, name="avc_trained", start_from="labels_cells"),
    tried("supervised:pictures", "quickstart", "linear", name="labels_pictures"),
    tried(
        "dmc", "pairs", LOCALISATION, *ONE_FRAME, name="dmc_one_frame",
        start_from="labels_pictures",
    ),
    tried(
        "dmc:simplified", "pairs", LOCALISATION, *ONE_FRAME, name="dmc_one_frame_simplified",
        start_from="labels_pictures",
    ),
    tried(
        "dmc:simplified", "pairs", LOCALISATION, *ONE_FRAME, "objectives.dmc.video_clusters=5",
        name="dmc_one_frame_simplified_5", start_from="labels_pictures",
    ),
    tried(
        "avc:pairs", "pairs", LOCALISATION, *ONE_FRAME, name="avc_one_frame",
        start_from="labels_pictures",
    ),
    tried(
        "xid:faulty", "quickstart", VERIFICATION, name="xid_faulty", learns_from="faulty"
    ),
    tried(
        "xid:faulty", "quickstart", VERIFICATION, name="xid_faulty_longer",
        learns_from="faulty", start_from="xid_faulty",
    ),
    tried(
        "robust_xid", "quickstart", VERIFICATION, "objectives.robust_xid.warmup_steps=0",
        # As sharp against the temperature as published: 0.02 of 0.07.
        "objectives.robust_xid.target_temperature=0.057",
        name="robust_after_xid", learns_from="faulty", start_from="xid_faulty",
    ),
    tried(
        "avts", "long", SYNCHRONISATION, "objectives.avts.hard_from_step=0",
        name="avts_hard_constant",
    ),
    tried(
        "avts", "long", SYNCHRONISATION, "objectives.avts.hard_from_step=400",
        name="avts_curriculum_constant",
    ),
    tried("selavi", "quickstart", CLUSTERING, SOLVES, name="selavi"),
    tried(
        "selavi", "quickstart", CLUSTERING, f"steps={2 * STEPS}",
        f"objectives.selavi.schedule_steps={2 * STEPS}", name="selavi_twice_as_long",
    ),
    tried(
        "selavi", "quickstart", CLUSTERING, f"steps={2 * STEPS}",
        f"objectives.selavi.schedule_steps={2 * STEPS}", "batch_size=32", name="selavi_half_batches",
    ),
    tried("selavi", "quickstart", CLUSTERING, *FEW_SOLVES, name="selavi_few_solves"),
    tried(
        "selavi", "quickstart", CLUSTERING, *FEW_SOLVES, "views.video.hue=0.0",
        "views.video.saturation=0.0", name="selavi_few_solves_own_colours",
    ),
)  # fmt: skip

COLUMNS = (
    Column("linear", "video", "top1", label="linear video"),
    Column("linear", "audio", "top1", label="linear audio"),
    Column("synchronization", "joint", "two_way", label="in sync"),
    Column("verification", "joint", "fault_auc", label="faulty pairs AUC"),
    Column("clustering", "video", "labels_nmi", label="NMI of labels, video"),
    Column("clustering", "audio", "labels_nmi", label="NMI of labels, audio"),
    Column("clustering", "joint", "labels_nmi", label="NMI of labels, both"),
    Column("localization", "video", "mean_ciou", label="mean cIoU"),
    Column("localization", "video", "separated", label="sources told apart"),
)


NOTES = (
    "dmc and avc: what is named trained begins with labels_cells, what is named one_frame with "
    "labels_pictures, and sees the frame in the middle of the sound. dmc_trained has norm_maps.",
    "xid_faulty_longer and robust_after_xid go on from xid_faulty, for as many steps.",
)


def get_ablation(variant: str = ""):
    ablation = Ablation(
        title="Tried on the training part of the worlds", rows=ROWS, columns=COLUMNS, notes=NOTES
    )
    return variant_of(ablation, variant)
