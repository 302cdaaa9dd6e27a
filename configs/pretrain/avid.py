"""Audio-visual instance discrimination (AVID) on Kinetics: R(2+1)D-18, Conv2D-10, 8 frames, 2 s of sound.

Morgado, Vasconcelos & Misra 2021 (CVPR, arXiv 2004.12943), Cross-AVID with memory banks. Encoders, inputs and
optimiser are those of `xid.py`; 30 epochs of 10 clips a video, batch 256 on 8 GPUs (BatchNorm per GPU there,
over the whole batch here). `:audioset` is the paper's AudioSet run: 40 epochs of 5 clips, batch 160.
Build the data first (`avssl data build --short-side 256`).

  avssl pretrain --config configs/pretrain/avid.py --workdir runs/avid

Expected (released table, after fine-tuning): Kinetics 86.9 % on UCF101, 59.9 % on HMDB51, 43.0 % linear on
Kinetics; AudioSet 91.0, 64.1 and 46.5 %. Measured: not run at this scale.
"""

from pathlib import Path

from avssl.config import load_config, variant_of


def get_config(variant: str = ""):
    config = load_config(str(Path(__file__).parent / "xid.py"))
    config.objectives = dict(avid=dict(weight=1.0))
    # With fsdp: each device then finds its columns of all negatives, and only cosines travel. Split by
    # rows, 2 million x 128 take 422 MB of working memory on each of 8 devices, like this 39 MB.
    config.parallel.rules = (("_bank$", 1),)
    return variant_of(config, variant, audioset=audioset)


def audioset(config):
    config.steps = 2_230_000  # 40 epochs x 5 clips of 1,784,108 videos at 160
    config.batch_size = 160
    config.data.source = "tfds:data/audioset@train"
    config.data.num_records = 1_784_108
    config.optimizer.learning_rate = 5e-4
