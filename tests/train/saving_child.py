"""A process that saves without pause until it is killed; started by test_checkpoint_kill.py.

It imports everything once and then forks one saver per line read, so that ten of them take
seconds. Writes `PID STEP` for each, where STEP is what the saver found, after comparing it.
"""

import os
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from avssl.train.checkpoint import Checkpoints


def content(step: int) -> dict:
    draw = np.random.default_rng(step)
    return {
        "params": {"w": jnp.asarray(draw.normal(size=(300, 500)), jnp.float32)},
        "opt_state": [{"mu": jnp.full((700,), step, jnp.float32)}, {}],
    }


def check(checkpoints: Checkpoints, step: int) -> None:
    wanted = content(step)
    found = checkpoints.restore(step, wanted)
    for left, right in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_array_equal(left, right)
    assert checkpoints.meta(step) == {"step": step}


def save_until_killed(folder: Path) -> None:
    with Checkpoints(folder, keep=2) as checkpoints:
        step = checkpoints.latest()
        if step is not None:
            check(checkpoints, step)
        if names := [path.name for path in folder.iterdir() if "tmp" in path.name]:
            raise AssertionError(f"left behind: {names}")
        print(os.getpid(), -1 if step is None else step, flush=True)
        step = step or 0
        while True:
            step += 1
            checkpoints.save(step, content(step), {"step": step})


if __name__ == "__main__":
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            save_until_killed(Path(line.strip()))
        _, status = os.waitpid(child, 0)
        print("ended", os.waitstatus_to_exitcode(status), flush=True)
