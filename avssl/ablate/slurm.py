"""An array job that runs the parts of an ablation on a cluster."""

import os
import shlex
import sys
from pathlib import Path

from avssl.evaluate.rows import write_whole

# Flags of the command line that say how often to run, and take a value or none.
OWN_FLAGS = {
    "--emit": True, "--shard": True, "--out": True, "--results": True, "--dry-run": False, "--list": False,
}  # fmt: skip
# The scheduler's warning before it ends a job: what runs is saved then, and goes on later.
WARNING_SECONDS = 120

TEMPLATE = """#!/bin/bash
# One task for each part of the ablation; runs that need each other are in one part. Options for the partition,
# the time and the accelerators go to `sbatch`, whose command line comes before what stands here.
#SBATCH --job-name={name}
#SBATCH --array=0-{last}
#SBATCH --output={log}
#SBATCH --chdir={folder}
#SBATCH --signal=USR1@{warning}
#SBATCH --requeue
srun {command} --shard "$SLURM_ARRAY_TASK_ID/{count}"
status=$?
# Stopped by the scheduler after saving: it goes on where it was.
if [ "$status" -eq 75 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
"""


def write_array_job(workdir: Path, name: str, count: int) -> str:
    """Writes WORKDIR/NAME.sbatch for the command that was typed; a line that says how to go on."""
    file = workdir / f"{name}.sbatch"
    text = TEMPLATE.format(
        name=f"avssl-{name}", last=count - 1, count=count, warning=WARNING_SECONDS,
        log=workdir.absolute() / f"{name}-%A_%a.log", folder=os.getcwd(),
        command=shlex.join(["avssl", *without_own_flags(sys.argv[1:])]),
    )  # fmt: skip
    workdir.mkdir(parents=True, exist_ok=True)
    write_whole(file, text, "choose another --workdir")
    return (
        f"wrote {file}: {count} tasks; `sbatch {file}` runs them, then the same command without --emit writes "
        "the table"
    )


def without_own_flags(words: list[str]) -> list[str]:
    """The command without what only the whole ablation is asked."""
    kept: list[str] = []
    remaining = list(words)
    while remaining:
        word = remaining.pop(0)
        flag, equals, _ = word.partition("=")
        if flag not in OWN_FLAGS:
            kept.append(word)
        elif OWN_FLAGS[flag] and not equals and remaining:
            remaining.pop(0)
    return kept
