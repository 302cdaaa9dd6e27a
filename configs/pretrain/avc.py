"""L3-Net: binary audio-visual correspondence, one frame at 224 px and 1 s of sound at 48 kHz.

Arandjelovic & Zisserman 2017 (arXiv 1705.08168). Batch 16 on each of 16 GPUs, Adam 1e-4, weight decay 1e-5;
500,000 of Flickr-SoundNet's two million videos. Build the data first (`avssl data guide flickr_soundnet`).

  avssl pretrain --config configs/pretrain/avc.py --workdir runs/avc

Expected: 78 % correspondence accuracy on Flickr-SoundNet, ESC-50 79.3 with a linear SVM (as published).
Measured: not run at this scale.
"""

from avssl.config import base, variant_of


def get_config(variant: str = ""):
    config = base()
    config.steps = 300_000
    config.batch_size = 256
    config.precision = "bf16"
    config.data.source = "tfds:data/flickr@train"
    config.data.workers = 16
    config.data.num_records = 500_000
    # 224 pixels of a short side of 256: 0.43 of a frame of 16:9, 0.57 of one of 4:3.
    config.views.video = dict(
        modality="video", frames=1, fps=1.0, size=224, crop_area=(0.43, 0.57), crop_aspect=(1.0, 1.0),
        brightness=0.1, saturation=0.5,
    )  # fmt: skip
    config.views.audio = dict(modality="audio", seconds=1.0, rate=48000, volume=0.1)
    config.encoders.video = dict(name="l3_video", modality="video", frontend=dict(name="rgb"))
    config.encoders.audio = dict(
        name="l3_audio", modality="audio", frontend=dict(name="log_spectrogram")
    )
    config.objectives.avc = dict(weight=1.0)
    config.optimizer.name = "adam"
    config.optimizer.learning_rate = 1e-4
    config.optimizer.schedule = "constant"
    config.optimizer.weight_decay = 1e-5
    config.eval.protocols = ()  # by `avssl evaluate`, on the data that it names
    return variant_of(config, variant)
