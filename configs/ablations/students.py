"""What students learn from teachers on the embedded worlds, method by method, as the papers claim it.

The transfer losses side by side are in `distillation.py`. Teachers speak online; small encoders, 480 steps, but
for localisation, the network of pictures that it begins with, and the detectors that teach, which take more.

  avssl ablate --config configs/ablations/students.py --workdir runs/students --results RESULTS.md
"""

from typing import Any

from avssl.ablate.plan import Ablation, AblationRow, Cell, Claim, Column, WithGain, variant_of

# Of AVL's family, whose runs differ most.
SEEDS = (0, 1, 2)
FEW = "world:quickstart@train[:10%]"

CIOU = ("localization", "video", "ciou")
MEAN_CIOU = ("localization", "video", "mean_ciou")
BOXES = ("detection", "boxes", "map_50")
BOXES_AT_NIGHT = ("detection", "boxes", "night/map_50")
NAMED = {name: ("classification", name, "top1") for name in ("audio", "joint")}
EER = ("identity", "audio", "eer")
TAGS = ("tagging", "video", "map")
LINEAR = {name: ("linear", name, "top1") for name in ("video", "audio")}


def row(
    name: str,
    config: str,
    *overrides: str,
    steps: int = 480,
    seeds: tuple[int, ...] = (0,),
    **fields: Any,
) -> AblationRow:
    changed = (f"steps={steps}", *overrides)
    return AblationRow(name, f"configs/world/{config}", changed, seeds, **fields)


# The papers begin with a network of ImageNet's pictures, which also gives the maps of objects.
FROM_PICTURES = {"start_from": "pictures", "object_encoder": "pictures", "steps": 2400}
AVL = {"teachers": {"sound": "labels", "objects": "pictures"}, "seeds": SEEDS, **FROM_PICTURES}
EYES = {"rgb": "sees", "depth": "sees_depth", "thermal": "sees_warmth"}
PERSONS = {"teachers": {"audio": "person_teachers", "video": "person_teachers"}}

ROWS = (
    row("labels", "supervised.py", seeds=SEEDS),
    AblationRow("pictures", "configs/world/supervised.py:pictures", (), SEEDS),
    row("ez_vsl", "ez_vsl.py", seeds=SEEDS, **FROM_PICTURES),
    row("lvs", "lvs.py", **FROM_PICTURES),
    row("avl", "avl.py", **AVL),
    row(
        "avl_without_hints", "avl.py", "objectives.avl.sound_weight=0",
        "objectives.avl.object_weight=0", **AVL,
    ),
    *(AblationRow(name, f"configs/world/detect.py{variant}", (), (0,))
      for name, variant in (("sees", ""), ("sees_depth", ":depth"), ("sees_warmth", ":thermal"))),
    row("stereo", "stereo_soundnet.py", teachers={"teacher": "sees"}),
    row("mono", "stereo_soundnet.py:mono", teachers={"teacher": "sees"}),
    row("mm_rgb", "mm_distillnet.py:rgb", teachers=EYES),
    row("mm_all", "mm_distillnet.py", teachers=EYES),
    row("mke_teacher", "mke.py:teacher"),
    row("mke", "mke.py", teachers={"teacher": "mke_teacher"}),
    row("mke_without_noise", "mke.py:plain", teachers={"teacher": "mke_teacher"}),
    row("mke_unimodal", "mke.py:unimodal", teachers={"teacher": "mke_teacher"}),
    row("person_teachers", "three_level.py:teacher"),
    row("voice_alone", "three_level.py:alone"),
    *(row(f"voice_{level}", f"three_level.py:{level}", **PERSONS)
      for level in ("label", "embedding", "distribution")),
    row("voice_three_levels", "three_level.py", **PERSONS),
    # By its sound every clip is told without a mistake.
    row("mutual", "mutual.py:visual"),
    row("one_way", "mutual.py:visual+one_way"),
    row("tags_alone", "mutual.py:visual+alone"),
    # More would take more than five minutes: these convolutions see every sample of 3 s.
    row("soundnet", "soundnet.py", f"eval.data={FEW}", steps=200, teachers={"image": "labels"}),
    row(
        "soundnet_from_scratch", "supervised.py", f"data.source={FEW}", f"eval.data={FEW}",
        "views.audio.seconds=3.0", "encoders.audio.name=soundnet5",
        "encoders.audio.widths=(16, 32, 64, 128)", steps=200,
    ),
    row("ambient", "ambient.py"),
    row("ambient_binary", "ambient.py:binary"),
    row("ambient_spectrum", "ambient.py:spectrum"),
)  # fmt: skip

COLUMNS = (
    Column(*CIOU, label="cIoU"),
    Column(*MEAN_CIOU, label="mean cIoU"),
    Column("localization", "video", "pointing", label="points at it"),
    Column("localization", "objects", "mean_ciou", label="mean cIoU, objects alone"),
    Column("localization", "fused", "mean_ciou", label="mean cIoU, both fused"),
    Column(*BOXES, label="AP 50"),
    Column(*BOXES_AT_NIGHT, label="AP 50 at night"),
    Column("detection", "boxes", "center_distance_x", label="off across"),
    Column("detection", "boxes", "mota", label="MOTA"),
    Column("detection", "boxes", "idf1", label="IDF1"),
    Column(*NAMED["audio"], label="named by sound"),
    Column(*NAMED["joint"], label="named by both"),
    Column(*EER, label="EER, voice"),
    Column("identity", "audio", "min_dcf", label="minDCF, voice"),
    Column("identity", "joint", "eer", label="EER, both"),
    Column(*TAGS, label="tags of pictures, mAP"),
    Column(*LINEAR["video"], label="linear video"),
    Column(*LINEAR["audio"], label="linear audio"),
)


def beats(sentence: str, better: str, worse: str, key: tuple[str, str, str]) -> Claim:
    return Claim(sentence, Cell(better, *key), above=Cell(worse, *key))


CLAIMS = (
    *(
        claim
        for name, key in (("cIoU", CIOU), ("mean cIoU", MEAN_CIOU))
        for claim in (
            beats(f"AVL: hints of teachers raise the {name}", "avl", "avl_without_hints", key),
            beats(f"AVL localises better than EZ-VSL, {name}", "avl", "ez_vsl", key),
        )
    ),
    beats("MM-DistillNet: three eyes teach better than one", "mm_all", "mm_rgb", BOXES),
    beats("MM-DistillNet: at night too", "mm_all", "mm_rgb", BOXES_AT_NIGHT),
    Claim(
        "MM-DistillNet: most at night",
        Cell("mm_all", *BOXES_AT_NIGHT),
        above=WithGain(
            Cell("mm_rgb", *BOXES_AT_NIGHT), better=Cell("mm_all", *BOXES), worse=Cell("mm_rgb", *BOXES)
        ),
    ),
    beats("StereoSoundNet: two microphones beat one", "stereo", "mono", BOXES),
    Claim(
        "StereoSoundNet works with the lights off: above the boxes of another clip",
        Cell("stereo", *BOXES_AT_NIGHT),
        above="chance",
    ),
    Claim(
        "MKE: the student names better than its teacher",
        Cell("mke", *NAMED["joint"]),
        above=Cell("mke_teacher", *NAMED["audio"]),
    ),
    *(
        beats(f"three levels beat {other} on the EER", "voice_three_levels", f"voice_{other}", EER)
        for other in ("label", "embedding", "distribution", "alone")
    ),
    beats("mutual learning beats one-way", "mutual", "one_way", TAGS),
    beats(
        "SoundNet beats the same network from scratch, 120 labels",
        "soundnet", "soundnet_from_scratch", LINEAR["audio"],
    ),
    Claim("ambient sound: above random", Cell("ambient", *LINEAR["video"]), above="random_init"),
)  # fmt: skip

NOTES = (
    "MOTA and IDF1: of boxes with a score of 0.5 or more; of what hears 0.15, and mm_all 0.3, as one has "
    "in half of the clips that were trained on (eval.track_score).",
    "AVL localises better than EZ-VSL: an objective's heads begin with weights that are drawn by its "
    "name, so avl_without_hints and ez_vsl, whose loss is the same, are two runs at one seed, apart by "
    "draws alone.",
    "MM-DistillNet: whatever teaches, the student hears few of the boxes. Its teachers of depth and "
    "warmth find more than that of colours, by night far more (sees, sees_depth, sees_warmth).",
    "Three levels against the distribution alone: 0.6 points at one seed, where the interval of each EER is "
    "about 1.2 points to either side.",
    "Mutual learning: the network that sees and hears ranks without a mistake in any of the three, so a "
    "student that sees has nothing to tell it. What it learns from that student makes it less sure (micro "
    "F1 at 0.5: 94.7 % against 99.8 % one-way), and that is what it hands back. On the first 80 % of the "
    "training part, scored on its last 20 %, one-way is ahead as well (configs/world/mutual.py).",
    "SoundNet, 120 labels: these are the probe's. Its teacher learnt the same ten classes by the labels of all "
    "clips, whose pictures it then names to the student.",
)


def get_ablation(variant: str = ""):
    ablation = Ablation(
        title="Students on the worlds", rows=ROWS, columns=COLUMNS, claims=CLAIMS, notes=NOTES
    )
    return variant_of(ablation, variant)
