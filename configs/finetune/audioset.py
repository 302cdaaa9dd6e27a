"""Tagging of AudioSet, balanced training list: CNN14, 10 s at 32 kHz, 527 tags, several a clip.

Kong et al. 2020 (PANNs, arXiv 1912.10211): binary cross-entropy, SpecAugment, Adam 1e-3, batch 32, classes in
turn, mixup of all clips with alpha 1: here of waveforms, and each clip is in two mixtures of a batch, where the
released code makes 32 of the log-mel spectrograms of 64 clips (`train/mixup.py`). AST and PSLA mix half of the
clips, with alpha 10: --config.data.mixup=10 --config.data.mixup_share=0.5. The number of clips is that of the
list (as recalled), of which fewer can still be had.

  avssl finetune --config configs/finetune/audioset.py --init runs/xid-audioset --workdir runs/audioset

Lists and segments lie in data/audioset. `:unbalanced` trains on the two million clips of the other list.

Expected (as recalled, not verified): mAP 0.278 on the balanced list, 0.431 on all 1.9 million clips (0.425 with
waveforms mixed). Measured: not run at this scale.
"""

from avssl.config import base, variant_of

ROOT = "data/audioset"


def get_config(variant: str = ""):
    config = base()
    config.steps = 20_000  # 29 epochs of 22,160 clips
    config.batch_size = 32
    config.precision = "bf16"
    config.data.workers = 16
    config.data.num_records = 22_160
    config.data.class_balanced = True
    config.data.mixup = 1.0
    take_list(config, "balanced_train_segments")
    config.views.audio = dict(
        modality="audio",
        seconds=10.0,
        rate=32000,
        time_masks=(2, 0.064),
        frequency_masks=(2, 0.125),
    )
    config.encoders.audio = dict(name="cnn14", modality="audio", block_dropout=0.2, dropout=0.5)
    config.objectives.classify = dict(
        weight=1.0, modalities=("audio",), num_classes=527, multi_label=True
    )
    config.optimizer.name = "adamw"
    config.optimizer.learning_rate = 1e-3
    config.optimizer.schedule = "constant"
    config.eval.protocols = ("tagging",)
    return variant_of(config, variant, unbalanced=unbalanced)


def take_list(config, name):
    config.data.source = config.eval.data = f"audioset:{ROOT}@{name}"
    config.eval.test_data = f"audioset:{ROOT}@eval_segments"


def unbalanced(config):
    config.steps = 600_000
    config.data.num_records = 2_041_789
    take_list(config, "unbalanced_train_segments")
