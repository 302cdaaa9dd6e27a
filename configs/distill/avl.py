"""AVL at paper scale: EZ-VSL with hints of a sound tagger and of a network that sees objects.

Yaghoubi et al. 2023 (ICMI), their CNN variant: two ResNet-18 with projections into 2048 dimensions, Adam 1e-4,
VGGSound 144k, 30 epochs of batches of 1,600 over three GPUs; everything else as in `configs/distill/ez_vsl.py`.
`:vit` is their main model, two ViT-B/16; theirs begin with timm's weights of ImageNet and have a class token,
and that of sounds sees a picture of 224 x 224 that convolutions make of the spectrogram, here the patches of
the spectrogram itself. The sound teacher is PANNs' CNN14 at 32 kHz, trained on 10 s (it pools over
time, and hears 3 s here), that of objects DETR at 800 px: where the last layer of its decoder looks for what it
is sure of. It sees the student's picture in the student's crop, in the step; theirs is stored
beforehand, once for each picture. Any other picture network that keeps a map may take its place, with pictures
of its own size (`views.objects.size`), as may a function (`run=FILE.py`).

  avssl pretrain --config configs/distill/avl.py --workdir runs/avl \
      --config.data.source=tfds:data/vggsound144k@train --config.init_from=runs/imagenet-resnet18
  avssl evaluate --workdir runs/avl --data tfds:data/vggss@train --test-data tfds:data/vggss@train \
      --protocols localization --alpha 0.4 --object-encoder runs/imagenet-resnet18 --released ez_vsl \
      --save-visualizations

Data and `runs/imagenet-resnet18` are those of `configs/distill/ez_vsl.py`. The teachers are
`teachers.sound.run` and `teachers.objects.run`, made of the released weights (`Cnn14_mAP=0.431.pth`,
`detr-r50-e632da11.pth`):

  avssl import cnn14.pth runs/audioset-cnn14 --config configs/distill/avl.py:cnn14
  avssl import detr-r50.pth runs/coco-detr --config configs/distill/avl.py:detr

A CNN14 of one's own is a run of `configs/finetune/audioset.py`, whose encoder is `audio`
(`--config.teachers.sound.run=runs/audioset --config.teachers.sound.encoder=audio`).
`--config.objectives.avl.object_teacher=''` is without objects, `sound_teacher=''` without sounds. The released
code scores VGG-SS with the first box of each picture alone: not comparable with EZ-VSL, nor with this.

Expected: published numbers not at hand (more than EZ-VSL's). Measured: not run at this scale.
"""

from pathlib import Path

from avssl import config as shared
from avssl.config import load_config, variant_of

SOUND_WIDTH = 2048


def get_config(variant: str = ""):
    config = load_config(str(Path(__file__).parent / "ez_vsl.py"))
    config.batch_size = 1_600
    config.steps = 2_700  # 30 epochs of 144,000 pairs
    config.objectives = dict(avl=dict(weight=1.0))
    # What PANNs hears, of the same moment.
    config.views.sound = dict(modality="audio", seconds=3.0, rate=32000)
    # What DETR sees: the same picture, larger.
    config.views.objects = dict(config.views.video.to_dict(), size=800, placed_with="video")
    # The encoders below are for `run=''` alone, random teachers.
    config.encoders.sound = dict(
        name="cnn14", modality="audio", embedding_size=SOUND_WIDTH
    )  # fmt: skip
    config.encoders.objects = dict(
        name="detr_resnet50_video", modality="video", frontend=dict(name="rgb")
    )  # fmt: skip
    config.teachers.sound = dict(
        run="runs/audioset-cnn14", encoder="sound", view="sound", targets=("embedding",),
        precision="bf16", shapes=dict(embedding=(SOUND_WIDTH,)),
    )  # fmt: skip
    config.teachers.objects = dict(
        run="runs/coco-detr", encoder="objects", view="objects", targets=("map",),
        precision="bf16", shapes=dict(map=(1, 25, 25, 1)),
    )  # fmt: skip
    return variant_of(config, variant, vit=vit, cnn14=cnn14, detr=detr, quicktest=quicktest)


def cnn14(config):
    """The teacher of sound, as released: to import."""
    alone(config, "sound", dict(config.views.sound, seconds=10.0))


def detr(config):
    """The teacher of objects, as released: to import."""
    alone(config, "objects", dict(config.views.objects, placed_with=""))


def alone(config, name, view):
    config.views, config.encoders = {name: view}, {name: config.encoders[name]}
    config.teachers = config.objectives = {}


def vit(config):
    config.encoders.video.name = "vit_video"
    config.encoders.video.patch = (1, 16, 16)
    config.encoders.audio.name = "vit_audio"


def quicktest(config):
    shared.quicktest(config)
    config.encoders.sound.embedding_size = config.objectives.avl.channels = 64
    config.encoders.objects.update(
        transformer_width=16, hidden=32, num_heads=2, encoder_depth=1, decoder_depth=1, num_queries=4,
        threshold=0.0,  # a random network is sure of nothing
    )  # fmt: skip
