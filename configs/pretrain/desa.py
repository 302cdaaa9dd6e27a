"""Minimising disagreement (de Sa 1993) in its gradient form, with XDC's encoders and inputs.

The paper has 30 prototypes a modality for 10 vowels; at this scale there is nothing to compare with. 64
classes of 3 prototypes, as many classes as XDC has clusters; encoders, inputs and optimiser are `xdc.py`'s.

  avssl pretrain --config configs/pretrain/desa.py --workdir runs/desa

Expected: no published number for this system (1993, on vowels: 74 to 80 % of them named right, where a
supervised codebook reaches about 80; not verified). Measured: not run at this scale.
"""

from pathlib import Path

from avssl.config import load_config, variant_of


def get_config(variant: str = ""):
    config = load_config(str(Path(__file__).parent / "xdc.py"))
    config.objectives = dict(desa=dict(weight=1.0, num_classes=64, num_prototypes=3))
    return variant_of(config, variant)
