"""Stores that tests write, and students of them."""

from avssl.config import load_config
from avssl.teachers.teach import teach

CONFIG = "tests/teachers/student_config.py"
DATA = "world:tiny@train"
GRID_SECONDS = 0.3
BATCH = 8


def written(run, out, encoder, targets, **arguments):
    teach(str(run), DATA, str(out), encoder=encoder, targets=targets, batch_size=8, **arguments)
    return out


def student(**flat):
    config = load_config(CONFIG)
    config.batch_size = BATCH
    config.update_from_flattened_dict(flat)
    return config
