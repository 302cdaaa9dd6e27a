"""Runs of a few steps on made-up batches, on any devices: no files, no pipeline."""

import dataclasses
from types import SimpleNamespace
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from avssl.bench.step import random_batch
from avssl.config import ConfigDict, base, resolve
from avssl.objectives import OBJECTIVES, objective_defaults
from avssl.signal.texture import SoundTexture
from avssl.teachers.open import Teachers, open_teachers
from avssl.train.build_model import build_model
from avssl.train.mesh import batch_sharding
from avssl.train.refresh import Refresher, outputs_of
from avssl.train.run import Setup, build_setup, fresh_state
from avssl.train.state import TrainState

BATCH_SIZE = 16
NUM_RECORDS = 40
NUM_CLASSES = 4
# For objectives that cluster all records, which then happens before the first step.
SMALLER = {"num_clusters": 8, "num_heads": 2, "head_width": 16, "norm_warmup_steps": 0}
# Those that find boxes: their encoders have BatchNorm, whatever is asked for.
DETECTING = {
    "detect": {"video_view": "picture", "video_encoder": "detector"},
    "mm_distillnet": {"teachers": ("seer",), "alignment_weight": 1.0},
    "stereo_soundnet": {"teachers": ("seer",)},
}
DETECTOR = dict(
    widths=(4, 4, 4, 4), pyramid_width=4, num_classes=2, levels=(2, 3), num_fusions=1, head_depth=1
)
TAUGHT = {
    "avl": {
        "sound_teacher": "teacher",
        "object_teacher": "image_teacher",
        "channels": 32,
        "sound_weight": 1.0,
        "object_weight": 100.0,
    },
    "ccl": {},
    "cmc": {"num_negatives": 64},
    "crd": {"num_negatives": 64},
    "distill": {"also": ("image_teacher",)},
    "soundnet": {"teachers": ("teacher",), "kernel": 3, "stride": 1, "padding": 0, "scale": 10.0},
    "mke": {"hidden_widths": (16,), "noise": 0.5, "consistency_weight": 0.5},
    "three_level": {"audio_teacher": "teacher", "video_teacher": "image_teacher"},
}
# The statistics of sound that fit into a quarter of a second at 4 kHz.
TEXTURE = SoundTexture(num_bands=4, max_hz=1500.0, num_modulations=8)
HEARD = {
    "ambient": {
        "audio_encoder": "texture", "groups": tuple(TEXTURE.sizes.values()), "num_components": 8
    }
}  # fmt: skip
# Those that hide patches.
MASKED = {
    "av_mae": {
        "video_encoder": "tubelets", "audio_encoder": "patches", "fused_depth": 1,
        "decoder_width": 16, "decoder_depth": 1,
    }
}  # fmt: skip

# Squared distances of wide embeddings would drown the other losses of a run.
GENTLER = {"mutual": {"single_modal_weight": 0.01}}


def small_config(
    *objectives: str, precision: str = "float64", batch_norm: bool = True
) -> ConfigDict:
    """One-layer encoders under every named objective; dropout on, plain SGD."""
    config = base()
    config.batch_size = BATCH_SIZE
    config.data.num_records = NUM_RECORDS
    config.precision = precision
    config.views.video = dict(
        modality="video",
        frames=2,
        fps=4.0,
        size=8,
        brightness=0.2,
        contrast=0.2,
        saturation=0.2,
        hue=0.1,
    )
    config.views.audio = dict(modality="audio", seconds=0.25, rate=4000, volume=0.2)
    config.views.audio_shifted = dict(**config.views.audio, shift_seconds=(0.5, 1.0))
    # No picture and no sound is refused here, so these serve as panoramas and ambisonics as well.
    config.ema.decay = 0.9
    if "avsa" in objectives:
        config.views.audio.channels = 4
        config.views.video.update(projection="sphere", flip=False)
        config.views.viewpoints = dict(**config.views.video, windows=3)
        config.views.audio_shifted.channels = 4
    config.encoders.video = dict(
        name="linear_video", modality="video", dropout=0.3, batch_norm=batch_norm,
        frontend=dict(name="rgb"),
    )  # fmt: skip
    config.encoders.audio = dict(
        name="linear_audio", modality="audio", dropout=0.3, batch_norm=batch_norm,
        frontend=dict(name="log_mel", num_mels=8, fft_size=256, mean=-40.0, std=20.0),
    )  # fmt: skip
    if TAUGHT.keys() & set(objectives):
        config.teachers.teacher = dict(
            encoder="audio_teacher", view="audio", targets=("embedding", "logits"),
            precision=precision,
        )  # fmt: skip
        config.encoders.audio_teacher = config.encoders.audio.to_dict()
        config.teachers.image_teacher = dict(
            encoder="image_teacher", view="video", targets=("embedding", "logits", "map"),
            precision=precision,
        )  # fmt: skip
        config.encoders.image_teacher = config.encoders.video.to_dict()
    if "mutual" in objectives:
        config.encoders.teacher = config.encoders.audio.to_dict()
    if DETECTING.keys() & set(objectives):
        add_detectors(config, precision)
    if HEARD.keys() & set(objectives):
        frontend = dict(name="texture", **dataclasses.asdict(TEXTURE))
        config.encoders.texture = dict(name="identity_audio", modality="audio", frontend=frontend)
    if MASKED.keys() & set(objectives):
        vit = dict(size="tiny", depth=1, patch_drop=0.5, drop_path=0.2)
        config.encoders.tubelets = dict(
            name="vit_video", modality="video", patch=(1, 4, 4), frontend=dict(name="rgb"), **vit
        )
        config.encoders.patches = dict(
            name="vit_audio", modality="audio", patch=(8, 4),
            frontend=config.encoders.audio.frontend.to_dict(), **vit,
        )  # fmt: skip
    for name in objectives:
        keys = objective_defaults(name) if OBJECTIVES[name].refresh_pass else {}
        smaller = {key: value for key, value in SMALLER.items() if key in keys}
        given = (TAUGHT, HEARD, MASKED, GENTLER)
        settings = {key: value for one in given for key, value in one.get(name, {}).items()}
        config.objectives[name] = dict(weight=1.0, **smaller, **settings)
        if name in DETECTING:
            heard = {} if name == "detect" else {"audio_encoder": "hearer"}
            config.objectives[name].update(DETECTING[name] | heard)
            config.objectives[name].weight = float(batch_norm)
    config.optimizer.name = "sgd"
    config.optimizer.learning_rate = (
        0.01  # at 0.05 the runs are chaotic: rounding grows tenfold a step
    )
    config.optimizer.schedule = "constant"
    config = resolve(config)
    return opened(config)[0] if config.teachers else config


def add_detectors(config: ConfigDict, precision: str) -> None:
    """One that sees and one that hears, and a teacher like the first."""
    config.views.picture = dict(
        modality="video", frames=1, fps=4.0, size=16, crop="center", flip=False, objects=2
    )
    config.encoders.detector = dict(
        name="small_detector_video", modality="video", frontend=dict(name="rgb"), **DETECTOR
    )
    config.encoders.hearer = dict(
        name="small_detector_audio", modality="audio", height=16, width=16,
        frontend=config.encoders.audio.frontend.to_dict(), **DETECTOR,
    )  # fmt: skip
    config.teachers.seer = dict(
        encoder="detector", view="picture", targets=("boxes", "attention", "embedding"),
        precision=precision,
    )  # fmt: skip


def batches(config: ConfigDict, number: int) -> list[Any]:
    """Learnable noise: a sound's loudness and a picture's brightness follow the record."""
    model = build_model(config)
    made = []
    for step in range(number):
        batch = random_batch(model, config.batch_size)
        generator = np.random.default_rng(step)
        index = generator.integers(0, NUM_RECORDS, config.batch_size).astype(np.int32)
        scale = (0.1 + 0.9 * index / NUM_RECORDS)[:, None]
        for name, array in batch["views"].items():
            shape = (-1,) + (1,) * (array.ndim - 1)
            batch["views"][name] = (array * scale.reshape(shape)).astype(array.dtype)
        batch["index"] = index
        if "picture" in batch["geometry"]:
            place = batch["geometry"]["picture"]
            corner = generator.uniform(0, 0.5, (config.batch_size, 2, 2))
            place["objects"] = np.concatenate([corner, corner + 0.5], axis=2).astype(np.float32)
            place["classes"] = generator.integers(-1, 2, (config.batch_size, 2)).astype(np.int32)
        # Some clips have no sound, and some share their record with another row.
        batch["present"]["audio"] = generator.random(config.batch_size) > 0.1
        made.append(batch)
    return made


def opened(config: ConfigDict) -> tuple[ConfigDict, Teachers]:
    """The config and its teachers, which are random networks: nothing is read."""
    return open_teachers(config, cast(Any, SimpleNamespace(label_names=())))


class Trainer:
    """The compiled step of a config on the first `num_devices` devices."""

    def __init__(self, config: ConfigDict, num_devices: int):
        config, teachers = opened(config)
        model = build_model(config)
        self.setup = build_setup(config, model, jax.devices()[:num_devices], teachers=teachers)
        self.frozen = teachers.place(self.setup.frozen_shardings)
        self.step = self.setup.step.compile(
            self.setup.abstract, self.frozen, model.example_batch, config.batch_size
        )

    def placed(self, state: TrainState) -> TrainState:
        """On the devices, of what lies on the host; a copy, since the step takes over its memory."""
        return jax.device_put(jax.tree.map(np.copy, state), self.setup.shardings)

    def train(self, state: TrainState, data: list[Any]) -> tuple[list[dict[str, Any]], TrainState]:
        """(the logs of each step, the final state), both on the host."""
        told = []
        for batch in data:
            state, logs = self.step(state, self.frozen, self.setup.step.place(batch))
            told.append(jax.device_get(logs))
        return told, jax.device_get(state)


def train(
    config: ConfigDict, data: list[Any], num_devices: int, start: TrainState | None = None
) -> tuple[np.ndarray, Any]:
    """(the loss of each step, the final state on the host) on the first `num_devices` devices.

    start: on the host, to go on from; compiling what makes one takes as long as compiling the step.
    """
    trainer = Trainer(config, num_devices)
    state = started(trainer.setup) if start is None else trainer.placed(start)
    told, state = trainer.train(state, data)
    return np.array([np.asarray(logs["loss"]) for logs in told]), state


def start_on_host(config: ConfigDict, num_devices: int = 1) -> TrainState:
    """What `train` starts from by itself."""
    config, teachers = opened(config)
    setup = build_setup(config, build_model(config), jax.devices()[:num_devices], teachers=teachers)
    return jax.device_get(started(setup))


def started(setup: Setup) -> TrainState:
    """The initial state; objectives that wait for a pass over the data get noise of every record instead."""
    state, nothing = fresh_state(setup), np.zeros(0)
    refresher = Refresher(
        setup.model,
        setup.config,
        cast(Any, None),
        nothing,
        setup.mesh,
        setup.shardings,
        lambda: False,
    )
    rows = -(-NUM_RECORDS // setup.mesh.size) * setup.mesh.size
    generator = np.random.default_rng(0)

    def noise(leaf: jax.ShapeDtypeStruct) -> jax.Array:
        made = generator.normal(size=(NUM_RECORDS, *leaf.shape[1:])) + 1.0
        missing = [(0, rows - NUM_RECORDS)] + [(0, 0)] * (made.ndim - 1)
        return jax.device_put(np.pad(made, missing).astype(leaf.dtype), batch_sharding(setup.mesh))

    for name, objective in setup.model.objectives.items():
        if not objective.refresh_due(0):
            continue
        if objective.refresh_pass:
            shapes = jax.eval_shape(
                outputs_of(setup.model, [name], draws=False), state.variables(), setup.model.example_batch(2),
                jax.random.key(0),
            )[name]  # fmt: skip
            seen = jax.device_put(np.arange(rows) < NUM_RECORDS, batch_sharding(setup.mesh))
            state = refresher.refreshed(0, state, name, jax.tree.map(noise, shapes), seen)
        else:
            label = jnp.arange(NUM_RECORDS, dtype=jnp.int32) % NUM_CLASSES
            tags = jax.nn.one_hot(label, NUM_CLASSES, dtype=jnp.int8)
            known = {"label": label, "tags": tags}
            state = refresher.refreshed(0, state, name, known, jnp.zeros((0,), bool))
    return state


def furthest(first: Any, second: Any) -> float:
    """The largest difference between two trees of arrays."""
    gaps = jax.tree.map(
        # Masks are numbers here.
        lambda a, b: float(np.max(np.abs(1.0 * np.asarray(a) - np.asarray(b)), initial=0.0)),
        first,
        second,
    )
    return max(jax.tree.leaves(gaps), default=0.0)
