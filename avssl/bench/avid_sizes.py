"""What the arithmetic of a step of AVID depends on, taken from a config; other work is refused."""

import dataclasses
from typing import Any

import jax

from avssl.config import ConfigDict
from avssl.errors import UsageError
from avssl.models.conv2d10 import Conv2D10
from avssl.models.r2plus1d import R2Plus1D18
from avssl.train.model import Model

Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class AvidSizes:
    batch: int
    video: Shape  # time, height, width, channels
    audio: Shape  # time, frequency, channels
    video_blocks: Shape
    video_widths: Shape
    audio_widths: Shape
    audio_strides: Shape
    projection: Shape
    num_records: int
    num_negatives: int
    temperature: float
    bank_momentum: float
    learning_rate: float
    weight_decay: float
    precision: str


def avid_sizes(config: ConfigDict, model: Model) -> AvidSizes:
    check(config, model)
    objective: Any = model.objectives["avid"]
    video, audio = (encoder_of(model, kind) for kind in (R2Plus1D18, Conv2D10))
    optimizer = config.optimizer
    return AvidSizes(
        config.batch_size,
        *input_shapes(model),
        video.blocks,
        video.widths,
        audio.widths,
        audio.strides,
        objective.projection,
        objective.num_records,
        objective.num_negatives,
        objective.temperature,
        objective.bank_momentum,
        optimizer.learning_rate,
        optimizer.weight_decay,
        config.precision,
    )


def check(config: ConfigDict, model: Model) -> None:
    """Names the first thing that the yardstick does not have."""
    refuse("objectives", ", ".join(model.objectives), model.objectives.keys() == {"avid"})
    objective: Any = model.objectives["avid"]
    for key in ("within", "norm_heads"):
        value = getattr(objective, key)
        refuse(f"objectives.avid.{key}", value, not value)
    kinds = ", ".join(sorted(config.encoders[name].name for name in model.encoders))
    for kind in (R2Plus1D18, Conv2D10):
        refuse("the pair of encoders", kinds, encoder_of(model, kind) is not None)
    refuse("the video encoder's stem_max_pool", False, encoder_of(model, R2Plus1D18).stem_max_pool)
    optimizer = config.optimizer
    refuse("optimizer.name", optimizer.name, optimizer.name == "adam")
    refuse("optimizer.accumulate", optimizer.accumulate, optimizer.accumulate == 1)
    refuse("optimizer.clip_norm", optimizer.clip_norm, not optimizer.clip_norm)
    refuse("optimizer.frozen", optimizer.frozen, not optimizer.frozen)
    refuse("ema.decay", config.ema.decay, not config.ema.decay)
    refuse("precision", config.precision, config.precision in ("float32", "bf16"))
    count = jax.device_count()
    refuse("the number of devices", count, count == 1)


def refuse(what: str, value: Any, holds: bool) -> None:
    if not holds:
        raise UsageError(
            f"--vs torch measures AVID's step alone, and here {what} is {value}: take "
            "configs/pretrain/avid.py on one device, with any views, batch size, banks and widths"
        )


def encoder_of(model: Model, kind: type) -> Any:
    return next((one for one in model.encoders.values() if isinstance(one, kind)), None)


def input_shapes(model: Model) -> tuple[Shape, Shape]:
    """Of one clip, as the front ends give it to the encoders: video and audio."""
    batch = model.complete(model.example_batch(1))
    shapes = {}
    for read in model.reads:
        shape = jax.eval_shape(lambda read=read: model.inputs(read, batch, None)).shape
        shapes[model.views[read.view].modality] = shape[1:]
    return shapes["video"], shapes["audio"]
