"""Audio tagging of DCASE 2017 task 4: CNN14, 10 s at 32 kHz, 17 weak labels, several a clip.

Networks and inputs are those of `configs/distill/mutual.py`, without its teacher: fine-tuning in its place,
after the heads alone have moved for 500 steps. 51,172 training clips is from memory.

  avssl finetune --config configs/finetune/dcase.py --init runs/audioset --workdir runs/dcase2017

Lists and sounds lie in data/dcase2017. `:dcase2018` are the weakly labelled clips of 2018 task 4, 10 classes.

Expected: no numbers of such a system were at hand; F1 of the challenge takes thresholds of its own.
Measured: not run at this scale.
"""

from avssl.config import base, variant_of


def get_config(variant: str = ""):
    config = base()
    config.steps = 16_000  # 20 epochs of 51,172 clips
    config.batch_size = 64
    config.precision = "bf16"
    config.data.workers = 8
    config.data.num_records = 51_172
    config.data.source = config.eval.data = "dcase2017:data/dcase2017@training_set"
    config.eval.test_data = "dcase2017:data/dcase2017@testing_set"
    config.views.audio = dict(modality="audio", seconds=10.0, rate=32000)
    config.encoders.audio = dict(name="cnn14", modality="audio", block_dropout=0.2, dropout=0.5)
    config.objectives.classify = dict(
        weight=1.0, modalities=("audio",), num_classes=17, multi_label=True
    )
    config.optimizer.name = "adamw"
    config.optimizer.learning_rate = 1e-4
    config.optimizer.layer_decay = 0.8
    config.optimizer.head_warmup_steps = 500
    config.eval.protocols = ("tagging",)
    return variant_of(config, variant, dcase2018=dcase2018)


def dcase2018(config):
    config.steps = 2_000
    config.data.num_records = 1_578
    config.data.source = config.eval.data = "dcase2018:data/dcase2018@weak"
    config.eval.test_data = "dcase2018:data/dcase2018@test"
    config.objectives.classify.num_classes = 10
