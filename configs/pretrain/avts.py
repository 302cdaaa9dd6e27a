"""Audio-visual temporal synchronisation (AVTS), Kinetics: MC3-18 and a VGG-like sound network.

Korbar, Tran & Torresani 2018 (arXiv 1807.00230). There is no official code, and none of these constants is
verified: 25 frames of 224 px and one second of sound, 40 mel bands, SGD with momentum 0.9, 0.01, 64 clips a
batch; easy negatives for 50 of 90 epochs, then half of them hard. Here the rate falls along a cosine where the
paper divides it when the loss stands still.

  avssl pretrain --config configs/pretrain/avts.py --workdir runs/avts

`:super_hard` adds negatives that overlap by at least a quarter of a second; easy, hard and super-hard ones then
share the weight alike (the paper's shares are not known here).

Expected: fine-tuning on UCF101 / HMDB51 85.8 / 56.9 (not verified), from AudioSet 89.0 / 61.6; ESC-50 82.3.
Measured: not run at this scale.
"""

from avssl.config import base, variant_of


def get_config(variant: str = ""):
    config = base()
    config.batch_size = 64
    config.steps = 324_000  # 90 epochs of 230,000 clips
    config.precision = "bf16"
    config.data.source = "tfds:data/kinetics400@train"
    config.data.workers = 16
    config.data.num_records = 230_000
    config.views.video = dict(modality="video", frames=25, fps=25.0, size=224, align="start")
    config.views.audio = dict(modality="audio", seconds=1.0, rate=24000, align="start")
    # No overlap and at least half a second between.
    config.views.audio_shifted = dict(**config.views.audio, shift_seconds=(1.5, 8.5))
    config.encoders.video = dict(name="mc3_18", modality="video", frontend=dict(name="rgb"))
    config.encoders.audio = dict(
        name="vggish_audio", modality="audio", batch_norm=True,
        frontend=dict(
            name="log_mel", num_mels=40, fft_size=1024, window_samples=480, hop_seconds=0.01,
            mean=-40.0, std=20.0,
        ),
    )  # fmt: skip
    config.objectives.avts = dict(weight=1.0, hard_from_step=180_000)
    config.optimizer.name = "sgd"
    config.optimizer.arguments = dict(momentum=0.9)
    config.optimizer.learning_rate = 0.01
    config.optimizer.weight_decay = 1e-5
    config.eval.protocols = ()
    return variant_of(config, variant, super_hard=super_hard)


def super_hard(config):
    config.views.audio_overlapping = dict(**config.views.audio, shift_seconds=(0.25, 0.75))
    config.objectives.avts.update(super_hard_view="audio_overlapping", hard_fraction=2 / 3)
