"""Action recognition on Kinetics-400: as `ucf101.py`, with 400 classes; `:fusion` hears as well.

  avssl finetune --config configs/finetune/kinetics400.py --init runs/avid --workdir runs/avid-kinetics400

Lists and clips lie in data/kinetics400, in the layout of the CVD foundation. `:fusion` concatenates picture and
sound, by the Conv2D-10 of AVID; a clip without sound has zeros there. `:frozen` is the linear classifier on
frozen features that AVID reports. Schedule and smoothing are ours.

Expected: `:frozen` 43.0 % after AVID on Kinetics, 46.5 % on AudioSet (released table; on its own layers).
Measured: not run at this scale.
"""

from pathlib import Path

from avssl.config import load_config, variant_of

ROOT = "data/kinetics400"


def get_config(variant: str = ""):
    config = load_config(str(Path(__file__).parent / "ucf101.py"))
    config.steps = 54_000  # 30 epochs of 232,067 videos
    config.batch_size = 128
    config.data.workers = 16
    config.data.source = config.eval.data = f"kinetics:{ROOT}@train"
    config.eval.test_data = f"kinetics:{ROOT}@val"
    config.objectives.classify.update(num_classes=400, label_smoothing=0.1)
    config.optimizer.learning_rate = 2e-4
    config.optimizer.warmup_steps = 1_800
    return variant_of(config, variant, fusion=fusion, frozen=frozen)


def fusion(config):
    config.views.audio = dict(modality="audio", seconds=2.0, rate=24000, volume=0.1)
    config.encoders.audio = dict(name="conv2d10", modality="audio", frontend=dict(name="stft_db"))
    config.objectives.classify.modalities = ("video", "audio")


def frozen(config):
    config.optimizer.frozen = ("^encoders/",)
    config.optimizer.learning_rate = 1e-3
