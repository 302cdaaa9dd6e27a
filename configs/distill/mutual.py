"""Mutual learning at the scale of DCASE 2017 task 4: CNN14 hears, and CNN14 with ResNet-18 hears and sees.

Yin et al. 2021 (AAAI); no code is public and the text was not at hand, so networks and schedule are those usual
for the task and not verified: 64 mels of 10 s at 32 kHz, ten frames of the clip, Adam 0.001, batch 64.
Departures: all networks start from nothing, where the picture's is usually one of ImageNet; no mixup. 17
classes, several a clip; 51,172 training clips is from memory. Videos must lie in place of the sounds
(`audio/YID_START_END.mp4`, without the `.wav`, which would be taken): a clip that has none leaves the teacher's
terms, and sounds alone are refused.

  avssl data build dcase2017:/data/dcase-av@training_set data/dcase-av --audio-rate 32000 --short-side 256
  avssl data build dcase2017:/data/dcase-av@testing_set data/dcase-av-test --audio-rate 32000 --short-side 256
  avssl pretrain --config configs/distill/mutual.py --workdir runs/dcase-mutual
  avssl evaluate --workdir runs/dcase-mutual --protocols tagging --data tfds:data/dcase-av@train \
      --test-data tfds:data/dcase-av-test@train

`configs/distill/mutual.py:visual` has a student that sees.

Expected: no numbers of the paper were at hand. Measured: not run at this scale.
"""

from avssl.config import base, variant_of


def get_config(variant: str = ""):
    config = base()
    config.batch_size = 64
    config.steps = 40_000  # 50 epochs of 51,172 clips
    config.precision = "bf16"
    config.data.source = "tfds:data/dcase-av@train"
    config.data.workers = 8
    config.data.num_records = 51_172
    config.views.audio = dict(modality="audio", seconds=10.0, rate=32000)
    config.views.video = dict(modality="video", frames=10, fps=1.0, size=224, crop_area=(0.25, 1.0))
    for name in ("audio", "teacher"):
        config.encoders[name] = dict(
            name="cnn14", modality="audio", embedding_size=512, block_dropout=0.2, dropout=0.5
        )
    config.encoders.video = dict(name="resnet18_video", modality="video", frontend=dict(name="rgb"))
    config.objectives.mutual = dict(
        weight=1.0, student="audio", num_classes=17, transfer_warmup_steps=4_000,
        # Of a sum over 512 features, where the others are sums over 17 tags.
        single_modal_weight=0.03,
    )  # fmt: skip
    config.optimizer.name = "adamw"
    config.optimizer.learning_rate = 1e-3
    config.optimizer.warmup_steps = 500
    config.eval.protocols = ()  # by `avssl evaluate`, on the data that it names
    return variant_of(config, variant, visual=visual)


def visual(config):
    config.encoders.teacher = config.encoders.video.to_dict()
    config.objectives.mutual.student = "video"
