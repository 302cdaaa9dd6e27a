"""Audio-visual spatial alignment (AVSA), YT-360: R(2+1)D-18, Conv2D-10, four viewpoints of 112 px.

Morgado, Li & Vasconcelos 2020 (NeurIPS; code pedro-morgado/AVSpatialAlignment). Constants read in that code:
8 frames at 16 fps, 1 s of first-order ambisonics at 24 kHz, mel spectrograms of 128 bands, each less the
shipped mean over the shipped deviation, Adam 1e-4, weight decay 1e-5, constant; 50 epochs of instance
discrimination with one viewpoint, then alignment for 50. The official stages are two runs with 112 and 28 clips
a batch; here both are one run of 32. The number of clips (88,700 of 10 s) is not verified; two draws a clip and
epoch.

  avssl pretrain --config configs/pretrain/avsa.py --workdir runs/avsa --config.data.source=tfds:data/yt360

Expected: fine-tuning on UCF101 / HMDB51 68.5 / 33.0 (not verified).
Measured: not run at this scale.
"""

from avssl.config import base, variant_of


def get_config(variant: str = ""):
    config = base()
    config.batch_size = 32  # 28 there, which no power of two of devices divides
    config.steps = 550_000
    config.precision = "bf16"
    config.data.source = "tfds:data/yt360@train"
    config.data.workers = 16
    config.data.num_records = 88_700
    config.views.video = dict(
        modality="video", frames=8, fps=16.0, size=112, projection="sphere", flip=False,
        brightness=0.4, contrast=0.4, saturation=0.4, hue=0.2,
    )  # fmt: skip
    config.views.viewpoints = dict(**config.views.video.to_dict(), windows=4)
    config.views.audio = dict(modality="audio", seconds=1.0, rate=24000, channels=4, volume=0.1)
    config.encoders.video = dict(
        name="r2plus1d18", modality="video", stem_max_pool=False, frontend=dict(name="rgb")
    )
    config.encoders.audio = dict(
        name="conv2d10", modality="audio", strides=(1, 2, 2, 1),
        frontend=dict(
            name="log_mel", num_mels=128, fft_size=512, hop_seconds=0.01, power=1, top_db=100.0,
            top_db_over="channel", statistics="avsa",
        ),
    )  # fmt: skip
    config.objectives.avsa = dict(weight=1.0, alignment_from_step=275_000)
    config.optimizer.name = "adam"
    config.optimizer.learning_rate = 1e-4
    config.optimizer.schedule = "constant"
    config.optimizer.weight_decay = 1e-5
    config.eval.protocols = ()
    return variant_of(config, variant)
