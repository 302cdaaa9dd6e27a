"""Robust cross-modal instance discrimination (Robust-xID), Kinetics-400.

Morgado, Misra & Vasconcelos 2021 (arXiv 2103.15916). Encoders, inputs and optimiser of AVID, whose family the
paper uses; learning rate, epochs, averaging and the constants of weights and targets are recalled, not verified
(`losses/robust.py` says which). Build the data first (`avssl data build --short-side 256`).

  avssl pretrain --config configs/pretrain/robust_xid.py --workdir runs/robust-xid \
      --config.data.source=tfds:data/kinetics400

Expected: fine-tuning on UCF101 / HMDB51 with 8 frames 81.9 / 49.5, with 32 frames 85.6 / 55.0 (not verified).
Measured: not run at this scale.
"""

from pathlib import Path

from avssl.config import load_config, variant_of


def get_config(variant: str = ""):
    config = load_config(str(Path(__file__).with_name("xid.py")))
    config.steps = 181_000  # 200 passes of one clip of 232,067 videos at 256
    config.ema.decay = 0.99
    config.optimizer.learning_rate = 5e-4
    config.objectives = dict(robust_xid=dict(weight=1.0, warmup_steps=9_000, queue_rows=16_384))
    return variant_of(config, variant)
