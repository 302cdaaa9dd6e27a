"""SoundNet at paper scale: frozen networks of objects and of scenes teach eight convolutions on the waveform.

Aytar, Vondrick & Torralba 2016 (arXiv 1610.09001; code: cvondrick/soundnet): 20 s at 22050 Hz, a frame in the
middle of each of four slots of 5 s, Adam 1e-3, batch 64, two million videos of Flickr. The length of the run is
not known: here 50 epochs. As released there is no augmentation; the 20 s are drawn anew from longer videos, and
sound is the mean of its channels where the release takes the first.

The teachers are runs with an encoder `video` that sees pictures of 224 px and has logits, of any number of
classes (SoundNet's: VGG-16 on 1000 of ImageNet and on 401 of Places2). `runs/imagenet` is torchvision's VGG-16
(`vgg16-397923af.pth`); `avssl data guide places365` says how to train `runs/places`, and so is one of ImageNet
trained on `images:/data/imagenet/train`:

  avssl import vgg16.pth runs/imagenet --config configs/distill/soundnet.py:vgg16
  avssl pretrain --config configs/distill/soundnet.py --workdir runs/soundnet

Or they say it once for all, and no picture is decoded:

  avssl teach --teacher runs/imagenet --encoder video --data tfds:data/flickr@train --out runs/objects \
      --targets logits --every-seconds 2.5 --top-k 100
  avssl pretrain --config configs/distill/soundnet.py --workdir runs/soundnet \
      --config.teachers.objects.store=runs/objects --config.teachers.scenes.store=runs/scenes

`configs/distill/soundnet.py:soundnet5` has the five-layer network.

Expected (as recalled, not verified): linear SVM on pool5, ESC-50 74.2 %, ESC-10 92.2 %.
Measured: not run at this scale.
"""

from avssl import config as shared
from avssl.config import base, variant_of

SLOTS = 4
NUM_CLASSES = dict(objects=1000, scenes=401)


def get_config(variant: str = ""):
    config = base()
    config.batch_size = 64
    config.steps = 1_562_500
    config.data.source = "tfds:data/flickr@train"
    config.data.workers = 8
    config.data.num_records = 2_000_000
    config.views.audio = dict(modality="audio", seconds=20.0, rate=22050)
    # Four frames, placed together in the middle of the sound: each in the middle of its slot.
    config.views.video = dict(
        modality="video", frames=1, fps=25.0, size=224, windows=SLOTS, every_seconds=5.0,
        align="center", crop="center", flip=False,
    )  # fmt: skip
    config.encoders.audio = dict(name="soundnet8", modality="audio")
    # For `run=''` alone, random teachers: the encoder of a run is what it was there.
    config.encoders.video = dict(name="resnet18_video", modality="video", frontend=dict(name="rgb"))
    for name, run in dict(objects="runs/imagenet", scenes="runs/places").items():
        config.teachers[name] = dict(
            run=run, encoder="video", view="video", targets=("logits",), precision="bf16",
            shapes=dict(logits=(SLOTS, NUM_CLASSES[name])),
        )  # fmt: skip
    config.objectives.soundnet = dict(weight=1.0, teachers=tuple(NUM_CLASSES))
    config.optimizer.name = "adam"
    config.optimizer.learning_rate = 1e-3
    config.optimizer.schedule = "constant"
    config.eval.protocols = ()  # by `avssl evaluate`, on the data that it names
    return variant_of(config, variant, soundnet5=soundnet5, vgg16=vgg16, quicktest=quicktest)


def vgg16(config):
    """Its teacher of objects, to import."""
    config.teachers = {}
    config.views = dict(
        video=dict(config.views.video, windows=1, every_seconds=None, align="center")
    )
    config.encoders = dict(
        video=dict(
            name="vgg16_video", modality="video", linear=(4096, 4096), frontend=dict(name="rgb")
        )
    )
    config.objectives = dict(
        classify=dict(weight=1.0, modalities=("video",), num_classes=NUM_CLASSES["objects"])
    )


def soundnet5(config):
    config.encoders.audio.name = "soundnet5"
    config.objectives.soundnet.update(kernel=16, stride=12, padding=4)


def quicktest(config):
    shared.quicktest(config)
    # A second leaves two moments, each a slot.
    config.views.audio.seconds = 1.0
    config.views.video.update(windows=2, every_seconds=0.5)
    config.objectives.soundnet.update(kernel=1, stride=1)
