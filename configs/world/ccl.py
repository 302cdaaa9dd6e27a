"""Compositional contrastive learning on the embedded world: teachers of sound, of pictures, or both.

The teachers are the encoders of a finished run of `supervised.py`.

  avssl pretrain --config configs/world/supervised.py --workdir runs/world-supervised
  avssl pretrain --config configs/world/ccl.py --workdir runs/world-ccl

`configs/world/ccl.py:image` has the picture's teacher, `:both` the two. `--config.teachers.audio.run=''` is the
baseline: a random network teaches. Measured: RESULTS.md, by `configs/ablations/distillation.py`.
"""

from pathlib import Path

from avssl.config import load_config, variant_of


def get_config(variant: str = ""):
    config = load_config(str(Path(__file__).parents[1] / "quickstart.py"))
    config.objectives = dict(ccl=dict(weight=1.0, audio_teacher="", image_teacher=""))
    if "image" not in variant.split("+"):
        add_teacher(config, "audio", "audio")
    # No score between a picture and a sound is learnt.
    config.eval.protocols = ("classification", "neighbours", "knn", "linear")
    return variant_of(config, variant, image=image, both=image)


def image(config):
    add_teacher(config, "image", "video")


def add_teacher(config, side, modality):
    config.teachers[side] = dict(
        run="runs/world-supervised", encoder=modality, view=modality, targets=("embedding",),
        shapes=dict(embedding=(128,)),
    )  # fmt: skip
    config.objectives.ccl[f"{side}_teacher"] = side
