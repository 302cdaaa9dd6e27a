"""Cross-modal agreement (CMA) on Kinetics, from a finished AVID run on the same data.

Morgado, Vasconcelos & Misra 2021 (CVPR, arXiv 2004.12943), second stage: 20 epochs of 10 clips a video, 32
positives mined from the banks at the start and every 5 epochs. `:audioset` is the paper's AudioSet run: 40
epochs of 5 clips, mined every 10. Everything else as in `avid.py`.

  avssl pretrain --config configs/pretrain/cma.py --workdir runs/cma --config.init_from=runs/avid

Expected (released table, after fine-tuning): Kinetics 87.5 % on UCF101, 60.8 % on HMDB51, 44.4 % linear on
Kinetics; AudioSet 91.5, 64.7 and 48.9 %. Measured: not run at this scale.
"""

from pathlib import Path

from avssl import config as shared
from avssl.config import load_config, variant_of

AVID = str(Path(__file__).parent / "avid.py")


def get_config(variant: str = ""):
    config = load_config(f"{AVID}:audioset" if variant == "audioset" else AVID)
    config.steps = 181_300  # 20 epochs x 10 clips of 232,067 videos at 256
    # 5 epochs.
    config.objectives = dict(cma=dict(weight=1.0, refresh_every_steps=45_325))
    return variant_of(config, variant, audioset=audioset, quicktest=quicktest)


def audioset(config):
    config.steps = 2_230_000  # 40 epochs x 5 clips of 1,784,108 videos at 160
    config.optimizer.learning_rate = 1e-4
    config.objectives.cma.refresh_every_steps = 557_500  # 10 epochs


def quicktest(config):
    shared.quicktest(config)
    # The smallest world has 32 clips.
    config.objectives.cma.num_positives = 8
    config.objectives.cma.refresh_every_steps = 1
