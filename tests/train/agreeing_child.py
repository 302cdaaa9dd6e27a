"""One of two processes that start from another run's checkpoints; started by test_agreement.py.

Arguments: coordinator address, process id, folder of checkpoints, the folder for what it saw. Process 0 looks
into the folder before the newest step is there, process 1 after that.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import jax

jax.config.update("jax_platforms", "cpu")

from avssl.errors import UsageError  # noqa: E402 - after the platform is chosen
from avssl.teachers.open import check_same_everywhere  # noqa: E402
from avssl.train import manifest  # noqa: E402
from avssl.train.checkpoint_reader import CheckpointReader, read_checkpoint  # noqa: E402


def refusal(call: Callable[[], object]) -> str:
    try:
        call()
    except UsageError as error:
        return str(error)
    return "none"


def main(coordinator: str, process_id: str, folder: str, out: str) -> None:
    jax.distributed.initialize(coordinator, 2, int(process_id))
    if process_id == "0":
        steps = CheckpointReader.steps
        CheckpointReader.steps = lambda self: [step for step in steps(self) if step < 200]
    else:
        manifest.fault = lambda folder: f"process 1 has read all of {folder}"
    step, items = read_checkpoint(folder, ("params", "ema"), together=True)
    said = [
        [step, sorted(items), float(items["params"]["w"].sum())],
        refusal(lambda: read_checkpoint(f"{folder}/nothing", ("params",), together=True)),
        refusal(lambda: check_same_everywhere({})),
        refusal(lambda: check_same_everywhere({"one": "a" * 32, "other": "b" * 32})),
        refusal(lambda: check_same_everywhere({"one": "a" * 32, "other": process_id * 32})),
    ]
    Path(out, f"{process_id}.json").write_text(json.dumps(said))
    jax.distributed.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
