"""A run of a few milliseconds a step: one-layer encoders with BatchNorm and dropout on the smallest world."""

from avssl.config import base, variant_of


def get_config(variant: str = ""):
    config = base()
    config.steps = 40
    config.batch_size = 8
    config.log_every_steps = 1
    config.data.source = "world:tiny@train"
    config.data.cache = "memory"
    config.views.video = dict(
        modality="video", frames=2, fps=4.0, size=16, crop_area=(0.5, 1.0),
        brightness=0.2, contrast=0.2, saturation=0.2, hue=0.1,
    )  # fmt: skip
    config.views.audio = dict(modality="audio", seconds=0.25, rate=8000, volume=0.2)
    config.encoders.video = dict(
        name="linear_video", modality="video", dropout=0.2, frontend=dict(name="rgb")
    )
    config.encoders.audio = dict(
        name="linear_audio", modality="audio", dropout=0.2,
        frontend=dict(name="log_mel", num_mels=16, mean=-40.0, std=20.0),
    )  # fmt: skip
    config.objectives.xid = dict(weight=1.0, projection=(16,))
    config.optimizer.schedule = "constant"
    config.checkpoint.every_steps = 10
    config.checkpoint.keep = 4
    config.eval.protocols = ()
    config.eval.data = "world:tiny@train"
    config.eval.test_data = "world:tiny@test"
    return variant_of(config, variant, shifted=shifted)


def shifted(config):
    config.views.audio_shifted = dict(**config.views.audio, shift_seconds=(0.5, 1.0))
