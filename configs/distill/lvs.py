"""LVS at paper scale: one frame at 224 px and 3 s of sound, pairs of VGGSound 144k.

Chen et al. 2021 (arXiv 2104.02691; code: hche11/Localizing-Visual-Sounds-the-Hard-Way, of which the training is
not released): two ResNet-18 without projections whose last stage keeps 14 x 14 cells, sound pooled by the
maximum; sound at 16 kHz in 257 bins. Adam 1e-4 and batch 256 are from memory; the number of epochs is not
known, and 20 of EZ-VSL are taken. Departures: those of `configs/distill/ez_vsl.py`, of data and of how weights
start (BatchNorm's scales from N(1, 0.02) and Kaiming's fan-out there too).

  avssl pretrain --config configs/distill/lvs.py --workdir runs/lvs \
      --config.data.source=tfds:data/vggsound144k@train --config.init_from=runs/imagenet-resnet18
  avssl evaluate --workdir runs/lvs --data tfds:data/vggss@train --test-data tfds:data/vggss@train \
      --protocols localization --released lvs --save-visualizations

`avssl data guide vggsound` and `vggss` build both sets, whose one split is `train`. `init_from` is a run with
an encoder `video` of this kind, trained on ImageNet: `configs/distill/ez_vsl.py` says how to import it.
Without it the picture's network begins anew.

Expected (as recalled, not verified; cIoU / AUC): VGG-SS 34.4 / 38.2, Flickr 71.9 / 58.2 %.
Measured: not run at this scale.
"""

from pathlib import Path

from avssl.config import load_config, variant_of

RATE = 16000
# The last stage of torchvision's ResNet-18 has stride 2.
STRIDES = (1, 2, 2, 1)


def get_config(variant: str = ""):
    config = load_config(str(Path(__file__).parent / "ez_vsl.py"))
    config.batch_size = 256
    config.steps = 11_250  # 20 epochs of 144,000 pairs
    config.views.audio.rate = RATE
    # The floor of densities, 1e-7 there, is that of magnitudes at this rate.
    config.encoders.audio.frontend.update(
        window_seconds=512 / RATE, hop_seconds=238 / RATE, floor=1.53e-3
    )
    config.encoders.video.strides = config.encoders.audio.strides = STRIDES
    config.objectives = dict(lvs=dict(weight=1.0))
    return variant_of(config, variant)
