"""Fine-tuning with 5 labels a class on the embedded world: after pretraining by sound and sight, and without.

Pretraining is that of the quickstart; `scratch` has as many steps, and one rate for all layers.

  avssl ablate --config configs/ablations/finetune.py --workdir runs/ablations --results RESULTS.md
"""

from avssl.ablate.plan import Ablation, AblationRow, Cell, Claim, Column, variant_of

SEEDS = (0, 1, 2)
CONFIG = "configs/finetune/world.py"
TOP1 = {modality: ("classification", modality, "top1") for modality in ("video", "audio", "joint")}


def tuned(name: str, variants: str) -> AblationRow:
    return AblationRow(name, f"{CONFIG}{variants}", seeds=SEEDS, start_from="pretrained")


ROWS = (
    AblationRow("pretrained", "configs/quickstart.py", ("eval.protocols=linear",), seeds=SEEDS),
    tuned("video_tuned", ":video"),
    tuned("video_frozen", ":video+frozen"),
    AblationRow("video_scratch", f"{CONFIG}:video+scratch", seeds=SEEDS),
    tuned("audio_tuned", ":audio"),
    AblationRow("audio_scratch", f"{CONFIG}:audio+scratch", seeds=SEEDS),
    tuned("tuned", ""),
    AblationRow("scratch", f"{CONFIG}:scratch", seeds=SEEDS),
)

COLUMNS = tuple(Column(*key, label=f"top-1 {modality}") for modality, key in TOP1.items())

CLAIMS = tuple(
    Claim(
        f"Pretraining is worth 10 points with 5 labels a class, {modality}",
        Cell(f"{prefix}tuned", *TOP1[modality]),
        above=Cell(f"{prefix}scratch", *TOP1[modality]),
        margin=0.1,
    )
    for modality, prefix in (("video", "video_"), ("audio", "audio_"), ("joint", ""))
)


def get_ablation(variant: str = ""):
    ablation = Ablation(
        title="Fine-tuning with few labels", rows=ROWS, columns=COLUMNS, claims=CLAIMS
    )
    return variant_of(ablation, variant)
