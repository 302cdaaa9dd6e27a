"""The smallest student: pictures learn from a sound teacher, on the smallest world."""

from pathlib import Path

from avssl.config import load_config, variant_of


def get_config(variant: str = ""):
    config = load_config(str(Path(__file__).parents[1] / "train" / "tiny_config.py"))
    config.steps = 4
    config.checkpoint.every_steps = 2
    config.teachers.teacher = dict(encoder="audio", view="audio", targets=("embedding", "logits"))
    config.objectives = dict(distill=dict(weight=1.0))
    return variant_of(config, variant)
