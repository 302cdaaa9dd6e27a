"""DMC: clusters of picture and sound matched, one frame at 256 px and 5 s of sound at 16 kHz.

Hu, Nie & Li 2019 (arXiv 1807.03094): 10 clusters of 16 dimensions, Adam 1e-4, SoundNet-Flickr, of which
400,000 videos are drawn; log-mel of 64 bands, windows of 80 ms every 50 ms, 125-7500 Hz; VGG16 and VGGish
without their last poolings; frames whole, never mirrored. Departures: ImageNet statistics for the picture; at
least 0.01 where the logarithm's argument has 0.01 more; frames are centred, 100 of 5 s where VGGish's
`mel_features` makes 99, and triangles are drawn in Hz where it draws them in mel; batch 32 and the number of
steps, about 100 epochs, are those of the authors' later code. Build the data first (`avssl data guide
flickr_soundnet`).

  avssl pretrain --config configs/pretrain/dmc.py --workdir runs/dmc

`:simplified` is that later code's form with its constants and networks: 2 video clusters and 1 of audio, weight
decay 1e-4, ResNets of 18 layers that keep a finer map, a frame at 224 px and the second of sound that it is of.
Departure: it squashes frames into squares of 256 px before it crops them.

Expected: ESC-50 79.8 to 82.6 %, localisation cIoU about 0.67 on SoundNet-Flickr (as published, not verified).
Measured: not run at this scale.
"""

from avssl.config import base, variant_of


def simplified(config):
    config.objectives.dmc.update(form="simplified", normalise=False, margin=5.0)
    config.optimizer.weight_decay = 1e-4
    # At 4 frames a second one lies anywhere in the second that is heard. 224 pixels of a short side of 256 are
    # 0.43 of a frame of 16:9, 0.57 of one of 4:3.
    config.views.video = dict(
        modality="video", frames=1, fps=4.0, size=224, crop_area=(0.43, 0.57), crop_aspect=(1.0, 1.0),
        brightness=0.3, saturation=0.3,
    )  # fmt: skip
    config.views.audio.seconds = 1.0
    strides = (1, 2, 2, 1)
    config.encoders.video = dict(
        name="resnet18_video", modality="video", strides=strides, frontend=dict(name="rgb")
    )
    config.encoders.audio = dict(
        name="resnet18_audio",
        modality="audio",
        strides=strides,
        frontend=dict(
            name="log_mel", num_mels=64, fft_size=160, hop_seconds=0.005, last_frame=True
        ),
    )


def get_config(variant: str = ""):
    config = base()
    config.steps = 1_250_000
    config.batch_size = 32
    config.precision = "bf16"
    config.data.source = "tfds:data/flickr@train"
    config.data.workers = 16
    config.data.num_records = 400_000
    config.views.video = dict(
        modality="video", frames=1, fps=1.0, size=256, crop="squash", flip=False
    )
    config.views.audio = dict(modality="audio", seconds=5.0, rate=16000)
    config.encoders.video = dict(name="vgg16_video", modality="video", frontend=dict(name="rgb"))
    config.encoders.audio = dict(
        name="vggish_audio",
        modality="audio",
        frontend=dict(
            name="log_mel", num_mels=64, fft_size=2048, window_samples=1280, hop_seconds=0.05,
            min_hz=125.0, max_hz=7500.0, mel_scale="htk", equal_area=False, power=1, floor=0.01,
            top_db=None, std=4.342945,  # natural logarithms instead of decibels
        ),
    )  # fmt: skip
    config.objectives.dmc = dict(weight=1.0)
    config.optimizer.name = "adam"
    config.optimizer.learning_rate = 1e-4
    config.optimizer.schedule = "constant"
    config.eval.protocols = ()  # by `avssl evaluate`, on the data that it names
    return variant_of(config, variant, simplified=simplified)
