"""Sound classification on VGGSound: ResNet-18 on log-mel, 309 classes; `:fusion` sees as well.

Chen et al. 2020 (VGGSound, ICASSP, arXiv 2004.14368) train ResNets on spectrograms of 5 s drawn from each clip,
and score the 10 s; the front end here is ours (64 mels), so is the schedule.

  avssl finetune --config configs/finetune/vggsound.py --init runs/xdc-vggsound --workdir runs/vggsound

The list and the clips lie in data/vggsound. `:fusion` concatenates sound and picture (R(2+1)D-18, 8 frames).

Expected (as recalled, not verified): ResNet-18 from scratch 48.8 %, ResNet-50 51.0 %.
Measured: not run at this scale.
"""

from avssl.config import base, variant_of

ROOT = "data/vggsound"


def get_config(variant: str = ""):
    config = base()
    config.steps = 36_000  # 25 epochs of 183,730 clips
    config.batch_size = 128
    config.precision = "bf16"
    config.data.workers = 16
    config.data.source = config.eval.data = f"vggsound:{ROOT}@train"
    config.eval.test_data = f"vggsound:{ROOT}@test"
    config.views.audio = dict(modality="audio", seconds=5.0, rate=24000, volume=0.2)
    config.encoders.audio = dict(
        name="resnet18_audio", modality="audio",
        frontend=dict(name="log_mel", num_mels=64, mean=-40.0, std=20.0),
    )  # fmt: skip
    config.objectives.classify = dict(
        weight=1.0, modalities=("audio",), num_classes=309, dropout=0.2, label_smoothing=0.1
    )
    config.optimizer.name = "adamw"
    config.optimizer.learning_rate = 5e-4
    config.optimizer.weight_decay = 1e-4
    config.optimizer.warmup_steps = 1_400
    config.eval.protocols = ("classification",)
    config.eval.clips = 5
    return variant_of(config, variant, fusion=fusion)


def fusion(config):
    config.views.video = dict(modality="video", frames=8, fps=4.0, size=112, crop_area=(0.3, 1.0))
    config.encoders.video = dict(name="r2plus1d18", modality="video", frontend=dict(name="rgb"))
    config.objectives.classify.modalities = ("video", "audio")
