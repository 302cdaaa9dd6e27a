"""EZ-VSL at paper scale: one frame at 224 px and 3 s of sound, pairs of VGGSound 144k.

Mo & Morgado 2022 (arXiv 2203.09324; code: stoneMo/EZ-VSL): ResNet-18 on the picture, from ImageNet, and on the
spectrogram, pooled by the maximum; 512 dimensions, temperature 0.03; Adam 1e-4, constant, batch 128, 20 epochs.
Sound at 22.05 kHz in 257 bins and 276 frames. Departures: Hann windows where scipy's default is Tukey's, a
floor where the logarithm's argument has 1e-7 more, other units (a constant); scipy takes the mean off each
frame; the code draws BatchNorm's scales from N(1, 0.02) and all convolutions from Kaiming's fan-out, where
scales are 1 here and the first layer of sound is SeLaVi's, PyTorch's uniform; random crops of 22 to 100 % where
the code crops 224 of 246 px; the frame is drawn, and the code's is the middle one. It keeps the epoch that is
best on the test set; here the last one counts. In tests it squashes whole frames into 224 x 224 px, as
`--released ez_vsl` does (by bilinear interpolation, theirs is bicubic); without that flag pictures are centre
crops, which cut boxes.

  avssl pretrain --config configs/distill/ez_vsl.py --workdir runs/ez-vsl \
      --config.data.source=tfds:data/vggsound144k@train --config.init_from=runs/imagenet-resnet18
  avssl evaluate --workdir runs/ez-vsl --data tfds:data/vggss@train --test-data tfds:data/vggss@train \
      --protocols localization --alpha 0.4 --object-encoder runs/imagenet-resnet18 --released ez_vsl \
      --save-visualizations

`avssl data guide vggsound` and `vggss` build both sets, whose one split is `train`. `runs/imagenet-resnet18` is
a run with an encoder `video` of this kind, trained on ImageNet at this size, as torchvision's weights make it
(`resnet18-f37072fd.pth`):

  avssl import resnet18.pth runs/imagenet-resnet18 --config configs/distill/ez_vsl.py:resnet18

Without `init_from` the picture's network begins anew, without `--object-encoder` the map of objects is that of
the run's own.

Expected (published, fused with objects, cIoU / AUC): VGG-SS 38.85 / 39.54, Flickr 83.94 / 63.60 %.
Measured: not run at this scale.
"""

from avssl.config import base, variant_of

RATE = 22050


def get_config(variant: str = ""):
    config = base()
    config.steps = 22_500  # 20 epochs of 144,000 pairs
    config.batch_size = 128
    config.precision = "bf16"
    config.data.source = "tfds:data/vggsound144k@train"
    config.data.workers = 16
    config.data.num_records = 144_000
    config.views.video = dict(
        modality="video", frames=1, fps=1.0, size=224, crop_area=(0.22, 1.0)
    )  # fmt: skip
    config.views.audio = dict(modality="audio", seconds=3.0, rate=RATE)
    config.encoders.video = dict(
        name="resnet18_video", modality="video", frontend=dict(name="rgb")
    )  # fmt: skip
    config.encoders.audio = dict(
        name="resnet18_audio", modality="audio", pooling="max",
        # The logarithm of powers divided by 12, as that of magnitudes by 6.
        frontend=dict(
            name="log_spectrogram", window_seconds=512 / RATE, hop_seconds=238 / RATE, fft_size=512,
            floor=1.8e-3, divisor=6.0,
        ),
    )  # fmt: skip
    config.objectives.ez_vsl = dict(weight=1.0)
    config.optimizer.name = "adam"
    config.optimizer.learning_rate = 1e-4
    config.optimizer.schedule = "constant"
    config.eval.protocols = ()  # by `avssl evaluate`, on the data that it names
    return variant_of(config, variant, resnet18=resnet18)


def resnet18(config):
    """The network of pictures by itself, to import."""
    config.views, config.encoders = (
        dict(video=config.views.video), dict(video=config.encoders.video)
    )  # fmt: skip
    config.objectives = {}
