"""Quickstart: a small pair of encoders learns from the embedded world in a few minutes on two CPU cores.

Symmetric InfoNCE over the batch (xid). The run ends with the table of probes beside random initialisation.

  avssl pretrain --config configs/quickstart.py --workdir runs/quickstart

Expected: on held-out clips the nearest clip of the other modality has the same class in at least 50 % of the
queries, both ways (chance 10 %). RESULTS.md holds what was measured.
"""

from avssl.config import base, variant_of


def get_config(variant: str = ""):
    config = base()
    config.steps = 640
    config.batch_size = 64
    config.data.source = "world:quickstart@train"
    config.data.cache = "memory"
    config.views.video = dict(
        modality="video", frames=2, fps=4 / 3, size=64, crop_area=(0.5, 1.0),
        brightness=0.2, contrast=0.2,
    )  # fmt: skip
    config.views.audio = dict(modality="audio", seconds=1.5, rate=24000, volume=0.5)
    config.encoders.video = dict(name="small_video", modality="video", frontend=dict(name="rgb"))
    config.encoders.audio = dict(
        name="small_audio",
        modality="audio",
        # Decibels of the world's clips lie between about -80 and 0.
        frontend=dict(name="log_mel", num_mels=64, hop_seconds=0.02, mean=-40.0, std=20.0),
    )
    config.objectives.xid = dict(weight=1.0, temperature=0.1, projection=(128, 64))
    config.optimizer.name = "adamw"
    config.optimizer.learning_rate = 2e-3
    config.optimizer.warmup_steps = 50
    config.optimizer.weight_decay = 1e-2
    config.checkpoint.every_steps = 160
    config.eval.data = "world:quickstart@train"
    config.eval.test_data = "world:quickstart@test"
    return variant_of(config, variant)
