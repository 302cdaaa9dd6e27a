"""Compositional contrastive learning at paper scale: sound, a picture, or both teach R(2+1)D on UCF51.

Chen et al. 2021 (arXiv 2104.10955; code: yanbeic/CCL): the student has one block a stage, 16 frames at 112 px,
crops of 25 to 100 %; SGD 0.001, momentum 0.9, decay 5e-4, batch 16, 300 epochs. Departures: the rate falls
along a cosine where it is divided by ten at 150 and 225, and that of the compositions, which never falls there,
with it; the released student's stem has 83 midplanes (45 here), its shortcuts are factored, the second
convolution of a block has midplanes of its own, and it starts from PyTorch's default distribution (14,365,303
parameters without a classifier, 12,487,005 here). The image teacher looks at a frame of its own, drawn anew for
each step. UCF51 is the 51 classes of UCF101 that have sound; 4,893 training clips of split 1 is from memory.
The teachers are runs whose embeddings have 512 numbers (CCL's: a CNN14 on AudioSet and torchvision's ResNet-34
on ImageNet).

  avssl pretrain --config configs/world/supervised.py --workdir runs/ucf51-cnn14 \
      --config.data.source=tfds:data/ucf51@train --config.objectives.supervised.num_classes=51 \
      --config.views.audio.seconds=2.0 --config.encoders.audio.name=cnn14 \
      --config.encoders.audio.embedding_size=512 --config.views.audio.rate=32000
  avssl pretrain --config configs/distill/distill.py:image_teacher --workdir runs/ucf51-image \
      --config.data.source=tfds:data/ucf51@train
  avssl pretrain --config configs/distill/ccl.py --workdir runs/ucf51-ccl

`configs/distill/ccl.py:image` has the image teacher (`teachers.image.run`), `:both` both.

Expected (CCL's table, top-1 on UCF51, as published): student alone 57.5; audio 64.9, image 69.1, both 70.0.
Measured: not run at this scale.
"""

from pathlib import Path

from avssl import config as shared
from avssl.config import load_config, variant_of

DISTILL = str(Path(__file__).parent / "distill.py")
WIDTH = 512


def get_config(variant: str = ""):
    # Clips and student are those of the other losses.
    config = load_config(DISTILL)
    config.batch_size = 16
    config.steps = 91_743  # 300 epochs of 4,893 clips
    config.optimizer.learning_rate = 0.001
    del config.views.audio, config.encoders.audio, config.teachers.teacher
    config.objectives = dict(ccl=dict(weight=1.0, num_classes=51, audio_teacher=""))
    if "image" not in variant.split("+"):
        audio(config)
    return variant_of(config, variant, image=image, both=image, quicktest=quicktest)


# The encoders below are for `run=''` alone, random teachers: the encoder of a run is what it was there.


def audio(config):
    config.views.audio = dict(modality="audio", seconds=2.0, rate=32000)
    config.encoders.audio = dict(name="cnn14", modality="audio", embedding_size=WIDTH)
    config.teachers.audio = dict(
        run="runs/ucf51-cnn14", encoder="audio", view="audio", targets=("embedding",),
        precision="bf16", shapes=dict(embedding=(WIDTH,)),
    )  # fmt: skip
    config.objectives.ccl.audio_teacher = "audio"


def image(config):
    there = load_config(f"{DISTILL}:both")
    config.views.frame, config.encoders.image = there.views.frame, there.encoders.image
    config.teachers.image = dict(
        there.teachers.image.to_dict(), targets=("embedding",), shapes=dict(embedding=(WIDTH,))
    )
    config.objectives.ccl.image_teacher = "image"


def quicktest(config):
    shared.quicktest(config)
    if "audio" in config.encoders:  # as wide as the student is then
        config.encoders.audio.embedding_size = WIDTH // 8
