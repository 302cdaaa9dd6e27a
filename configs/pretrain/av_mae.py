"""Audiovisual masked autoencoders (AV-MAE), ViT-L/16x2 on AudioSet: 16 frames at 224 px and 10 s of sound.

Georgescu et al. 2023 (ICCV, arXiv 2212.05922) with the constants of scenic's configuration for AudioSet
(`projects/av_mae`): of 1568 tubelets 157 are seen and of 496 patches of sound 149; 22 blocks for each modality
and 2 on both, a decoder of 4 blocks of 512; Adam (0.9, 0.95), decoupled weight decay 0.05, 120 epochs at 512,
learning rate 3e-4 * batch / 256, 4 epochs of warm-up, cosine. Departures: bf16, where theirs is float32; 9.92 s
of sound, which are the whole patches of their 10; our decibels over their usual spread; and those of
`objectives/av_mae.py`. Build the data first (`avssl data build --short-side 256`).

`:base` is ViT-B/16x2 (10 blocks and 2, a decoder of 384), 4 clips on each of 256 chips, its scores in bf16 and
computed anew: to compare what a step moves and holds with scenic's, both compiled in bf16 for the same chips.
Scenic's published program is meant, which moves 54.3 GB on each with 1,996 MB of workspace: ours, 34.30 GB and
1,095 MB (1.02 GiB in RESULTS.md, "Flags of configs/pretrain/av_mae.py:base"), are 63 and 55 % of that. Of its
variant with products for convolutions, as our tokeniser has, 47.6 GB and 1,870 MB, ours are 72 and 59 %.

  avssl pretrain --config configs/pretrain/av_mae.py --workdir runs/av-mae
  avssl plan --config configs/pretrain/av_mae.py:base --topology v5e:16x16

Expected (published, fine-tuned with both modalities): AudioSet 51.8 mAP, VGGSound 65.0 %. Measured: not run at
this scale; what a step takes is what `avssl plan` says.
"""

from avssl.config import base, quicktest, variant_of

EPOCH = 1_784_108


def smaller(config):
    quicktest(config)
    config.objectives.av_mae.update(decoder_width=64, decoder_depth=1)


def get_config(variant: str = ""):
    config = base()
    config.batch_size = 512
    config.steps = 120 * EPOCH // config.batch_size
    config.precision = "bf16"
    config.data.source = "tfds:data/audioset@train"
    config.data.workers = 16
    config.data.num_records = EPOCH
    config.views.video = dict(modality="video", frames=16, fps=6.25, size=224)
    config.views.audio = dict(modality="audio", seconds=9.92, rate=16000)  # 62 x 8 patches
    config.encoders.video = dict(
        name="vit_video", modality="video", size="L", depth=22, patch_drop=0.9, remat="attention",
        frontend=dict(name="rgb", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
    )  # fmt: skip
    config.encoders.audio = dict(
        name="vit_audio", modality="audio", size="L", depth=22, patch_drop=0.7, remat="attention",
        frontend=dict(
            name="log_mel", num_mels=128, fft_size=400, hop_seconds=0.01, mean=-40.0, std=20.0
        ),
    )  # fmt: skip
    config.objectives.av_mae = dict(weight=1.0, decoder_width=512, remat="attention")
    config.optimizer.name = "adamw"
    config.optimizer.arguments = dict(b2=0.95)
    config.optimizer.learning_rate = 6e-4
    config.optimizer.warmup_steps = 4 * EPOCH // config.batch_size
    config.optimizer.weight_decay = 0.05
    config.eval.protocols = ()  # by `avssl evaluate`, on the data that it names
    return variant_of(config, variant, base=smaller_pair, quicktest=smaller)


def smaller_pair(config):
    config.batch_size = 1024
    for encoder in config.encoders.values():
        encoder.update(size="B", depth=10, narrow_scores=True)
    config.objectives.av_mae.update(decoder_width=384, narrow_scores=True)
