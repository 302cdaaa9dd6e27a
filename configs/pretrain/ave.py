"""AVE-Net: correspondence from distance alone, one frame at 224 px and 1 s of sound at 48 kHz.

Arandjelovic & Zisserman 2018, "Objects that Sound" (arXiv 1712.06651): L3-Net's encoders and training, with
128-dimensional aligned embeddings. Build the data first (`avssl data guide audioset`).

  avssl pretrain --config configs/pretrain/ave.py --workdir runs/ave

Expected: 81.9 % correspondence accuracy on AudioSet-Instruments (as published, from memory).
Measured: not run at this scale.
"""

from pathlib import Path

from avssl.config import load_config, variant_of


def get_config(variant: str = ""):
    config = load_config(str(Path(__file__).with_name("avc.py")))
    config.data.source = "tfds:data/audioset-instruments@train"
    config.data.num_records = 263_000
    config.objectives = dict(ave=dict(weight=1.0))
    return variant_of(config, variant)
