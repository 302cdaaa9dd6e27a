"""Files for schedulers: they cannot run here, but their words can be checked."""

import subprocess
from pathlib import Path

import pytest
import yaml

from avssl.command_line import parse
from avssl.data.guide import page
from avssl.verbs import config_of

LAUNCH = Path(__file__).parents[2] / "launch"


@pytest.mark.parametrize("name", ["slurm.sbatch", "tpu_vm.sh"])
def test_a_script_without_a_command_says_how_it_is_used(name):
    found = subprocess.run(["bash", str(LAUNCH / name)], capture_output=True, text=True, timeout=60)
    assert found.returncode == 2
    assert found.stderr.startswith("usage: ")


def called(tmp_path: Path, program: str, script: str, *words: str, code: int = 0):
    """(exit code, the words that `program` was called with), with a player in its place."""
    heard = tmp_path / "heard"
    for name in (program, "scontrol"):
        player = tmp_path / name
        player.write_text(
            f'#!/bin/bash\nprintf "%s\\n" "${{0##*/}}" "$@" >>{heard}\n'
            f"echo AVSSL_DISTRIBUTED=$AVSSL_DISTRIBUTED >>{heard}\n"
            f"exit {code if name == program else 0}\n"
        )
        player.chmod(0o755)
    found = subprocess.run(
        ["bash", str(LAUNCH / script), *words], timeout=60,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "SLURM_JOB_ID": "7"},
    )  # fmt: skip
    return found.returncode, heard.read_text().splitlines()


@pytest.mark.parametrize("code", [0, 1, 75])
def test_slurm_goes_back_into_the_queue_only_after_a_save(tmp_path, code):
    ended, heard = called(tmp_path, "srun", "slurm.sbatch", "avssl", "pretrain", "a b", code=code)
    assert ended == code
    started = ["srun", "--kill-on-bad-exit=0", "avssl", "pretrain", "a b", "AVSSL_DISTRIBUTED=1"]
    assert heard[: len(started)] == started
    requeued = ["scontrol", "requeue", "7", "AVSSL_DISTRIBUTED=1"]
    assert heard[len(started) :] == (requeued if code == 75 else [])


def test_words_reach_the_workers_as_they_were_typed(tmp_path):
    _, heard = called(tmp_path, "gcloud", "tpu_vm.sh", "pod", "zone", "echo", "a b", "$HOME", "c'd")
    assert {"--worker=all", "--zone=zone", "pod"} <= set(heard)
    command = next(word for word in heard if word.startswith("--command=")).removeprefix(
        "--command="
    )
    there = subprocess.run(
        ["bash", "-c", command.replace("cd avssl && ", "")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert there.stdout == "a b $HOME c'd\n"


def test_the_job_set_starts_one_process_on_each_host():
    job_set = yaml.safe_load((LAUNCH / "gke_jobset.yaml").read_text())
    (slice_,) = job_set["spec"]["replicatedJobs"]
    job = slice_["template"]["spec"]
    pod = job["template"]["spec"]
    rows, columns = map(int, pod["nodeSelector"]["cloud.google.com/gke-tpu-topology"].split("x"))
    (container,) = pod["containers"]
    chips = container["resources"]["limits"]["google.com/tpu"]
    assert job["parallelism"] == job["completions"] == rows * columns // chips
    assert {"name": "AVSSL_DISTRIBUTED", "value": "1"} in container["env"]
    config = config_of(parse(container["command"][1:]))
    assert config.batch_size == 16 * rows * columns
    built = config.data.source.removeprefix("tfds:/bucket/").removesuffix("@train")
    assert f"avssl data build kinetics:/data/kinetics400@train {built} " in page("kinetics")
    (saved, _) = job["podFailurePolicy"]["rules"]
    assert saved["onExitCodes"]["values"] == [75]
    assert saved["onExitCodes"]["containerName"] == container["name"]
    ((bucket,), (mounted,)) = pod["volumes"], container["volumeMounts"]
    assert bucket["name"] == mounted["name"]
    # Without it gcsfuse refuses the rename that commits a checkpoint.
    assert "rename-dir-limit=" in bucket["csi"]["volumeAttributes"]["mountOptions"]
