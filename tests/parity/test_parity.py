"""Equality with the numbers that the methods' official code produced.

`tests/goldens/STEM.npz` holds seeded inputs and the official outputs; `check_STEM(golden)` in the
file named below recomputes them. `pytest tests/parity --goldens DIR` runs the same checks on
another folder with the same file and array names, made from other seeds and sizes: so a check reads
sizes from the arrays, and regenerates seeded noise, left out for its size, only when it is absent.
"""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

pytestmark = pytest.mark.optimised

CASES = {
    "at": "case_hints.py",
    "avid": "case_avid.py",
    "avid_audio": "case_audio_frontends.py",
    "avid_blocks": "case_avid_models.py",
    "avid_cma": "case_avid.py",
    "avid_models": "case_avid_models.py",
    "avl_loss": "case_localization.py",
    "avsa": "case_avsa.py",
    "avsa_audio": "case_audio_frontends.py",
    "avsa_models": "case_avid_models.py",
    "avts": "case_avts.py",
    "cc": "case_relations.py",
    "ccl_losses": "case_ccl.py",
    "ccl_step_a": "case_ccl.py",
    "ccl_step_ai": "case_ccl.py",
    "ccl_step_i": "case_ccl.py",
    "cmc": "case_memory_contrast.py",
    "crd": "case_memory_contrast.py",
    "desa": "case_clustering.py",
    "dmc": "case_dmc.py",
    "ez_vsl_eval": "case_localization.py",
    "ez_vsl_loss": "case_localization.py",
    "fitnet": "case_hints.py",
    "ifd": "case_relations.py",
    "kd": "case_distillation.py",
    "l3net": "case_l3net.py",
    "lvs_eval": "case_localization.py",
    "lvs_loss": "case_localization.py",
    "mcn": "case_mcn.py",
    "mke_twomoon": "case_mke.py",
    "mm_distillnet_eval": "case_mm_distillnet.py",
    "mm_distillnet_focal": "case_mm_distillnet.py",
    "mm_distillnet_mta": "case_mm_distillnet.py",
    "nst": "case_hints.py",
    "pkt": "case_relations.py",
    "rkd": "case_relations.py",
    "robust_xid": "case_robust_xid.py",
    "selavi": "case_clustering.py",
    "selavi_audio": "case_audio_frontends.py",
    "soundnet_kl": "case_distillation.py",
    "sp": "case_relations.py",
    "vid": "case_hints.py",
    "xdc": "case_clustering.py",
}


def load(file_name: str) -> ModuleType:
    """By path: under pytest's importlib mode test folders are no packages to import from."""
    path = Path(__file__).with_name(file_name)
    spec = importlib.util.spec_from_file_location(f"parity_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("stem", sorted(CASES))
def test_parity(stem: str, goldens: Path):
    with np.load(goldens / f"{stem}.npz") as file:
        golden = {name: file[name] for name in file.files}
    check = getattr(load(CASES[stem]), f"check_{stem}")
    check(golden)


def test_every_golden_has_a_case():
    stored = {path.stem for path in Path(__file__).parents[1].joinpath("goldens").glob("*.npz")}
    assert stored == set(CASES)
