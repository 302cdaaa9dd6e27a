"""Multimodal knowledge expansion at the scale of VGGSound: a teacher of sound, a student of sound and video.

Xue et al. 2021 (ICCV, arXiv 2103.14431; code: zihuixue/MKE, two moons alone). Of their event classification
there is no code; its teacher sees (not verified), as that of `:picture` does, where the default's hears. Data,
networks and schedule are ours: a tenth of VGGSound with labels, the rest without; ResNet-18 on sound and
R(2+1)D-18 on video, an MLP on both. The labels are the teacher's classes of each clip's middle, taken once: a
store; the student hears and sees other crops, times and volumes of it. 183,730 training clips is from memory.

  avssl pretrain --config configs/distill/mke.py:teacher --workdir runs/vggsound-few-labels
  avssl teach --teacher runs/vggsound-few-labels --encoder audio --data 'tfds:data/vggsound@train[10%:]' \
      --out runs/vggsound-names --targets logits
  avssl pretrain --config configs/distill/mke.py --workdir runs/vggsound-mke

`configs/distill/mke.py:unimodal` is a student of sound alone. With a teacher of pictures:

  avssl teach --teacher runs/vggsound-few-labels --encoder video --data 'tfds:data/vggsound@train[10%:]' \
      --out runs/vggsound-seen-names --targets logits
  avssl pretrain --config configs/distill/mke.py:picture --workdir runs/vggsound-mke-picture

Expected: no numbers of the paper for these data. Measured: not run at this scale.
"""

from avssl.config import base, variant_of

NUM_CLASSES = 309


def get_config(variant: str = ""):
    config = base()
    config.batch_size = 128
    config.steps = 64_600  # 50 epochs of 165,357 clips
    config.precision = "bf16"
    config.data.source = "tfds:data/vggsound@train[10%:]"
    config.data.workers = 16
    config.data.num_records = 165_357
    config.views.video = dict(
        modality="video", frames=16, fps=8.0, size=112, crop_area=(0.25, 1.0),
        brightness=0.4, contrast=0.4, saturation=0.4, hue=0.2,
    )  # fmt: skip
    config.views.audio = dict(modality="audio", seconds=2.0, rate=24000, volume=0.5)
    config.encoders.video = dict(
        name="r2plus1d18_torchvision", modality="video",
        frontend=dict(
            name="rgb", mean=(0.4345, 0.4051, 0.3775), std=(0.2768, 0.2713, 0.2737)
        ),
    )  # fmt: skip
    config.encoders.audio = dict(
        name="resnet18_audio", modality="audio", frontend=dict(name="log_mel", num_mels=64)
    )  # fmt: skip
    config.teachers.teacher = dict(
        store="runs/vggsound-names", encoder="audio", view="audio", targets=("logits",),
        shapes=dict(logits=(NUM_CLASSES,)),
    )  # fmt: skip
    config.objectives.mke = dict(weight=1.0, noise=1.0)
    config.optimizer.name = "sgd"
    config.optimizer.arguments = dict(momentum=0.9)
    config.optimizer.learning_rate = 0.05
    config.optimizer.warmup_steps = 1_292
    config.optimizer.weight_decay = 1e-4
    config.eval.protocols = ()  # by `avssl evaluate`, on the data that it names
    return variant_of(config, variant, teacher=teacher, unimodal=unimodal, picture=picture)


def teacher(config):
    config.teachers = {}
    config.data.source = "tfds:data/vggsound@train[:10%]"
    config.data.num_records = 18_373
    config.steps = 14_350  # 100 epochs of 18,373 clips
    config.objectives = dict(supervised=dict(weight=1.0, num_classes=NUM_CLASSES))


def unimodal(config):
    config.objectives.mke.modalities = ("audio",)


def picture(config):
    config.teachers.teacher.update(store="runs/vggsound-seen-names", encoder="video", view="video")
