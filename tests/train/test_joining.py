"""Processes that join: what they call themselves, and what is wrong with the words that say where they are."""

import os
import subprocess
import sys

import pytest

from tests.conftest import TINY_CONFIG
from tests.train.command_line import free_port

JOIN = "from avssl.train.mesh import start_processes; start_processes(timeout_seconds={seconds})"
NAME = "; from avssl.train.peers import own_name; print(own_name())"


def started(process: int, num_processes: int, job: int, program: str) -> subprocess.Popen:
    """One process of a job of SLURM, of whose last digits JAX makes the coordinator's port."""
    environment = {
        **os.environ, "AVSSL_DISTRIBUTED": "1", "JAX_PLATFORMS": "cpu", "SLURM_JOB_ID": str(job),
        "SLURM_STEP_NODELIST": "localhost", "SLURM_NTASKS": str(num_processes), "SLURM_LOCALID": "0",
        "SLURM_PROCID": str(process),
    }  # fmt: skip
    return subprocess.Popen(
        [sys.executable, "-c", program], env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def test_processes_of_a_scheduler_know_their_numbers_once_they_have_joined():
    job = os.getpid()
    pair = [started(number, 2, job, JOIN.format(seconds=60) + NAME) for number in range(2)]
    said = [process.communicate(timeout=120) for process in pair]
    assert [out.splitlines()[-1:] for out, _ in said] == [["process 0 of 2"], ["process 1 of 2"]], (
        said
    )


def test_one_that_meets_nobody_says_which_one_it_is_and_where_it_looked():
    job = os.getpid() + 2048
    process = started(2, 3, job, JOIN.format(seconds=2))
    _, told = process.communicate(timeout=120)
    assert process.returncode == 1
    where = f"localhost:{2**16 - 2**12 + job % 2**12}"
    assert f"avssl: process 2 of 3 could not meet the others at {where} within 2 s" in told


def test_without_a_scheduler_that_is_what_is_said(tmp_path):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "TPU_"))}
    words = ("pretrain", "--config", TINY_CONFIG, "--workdir", tmp_path / "run")
    process = subprocess.run(
        [sys.executable, "-m", "avssl.cli", *words], timeout=120, capture_output=True, text=True,
        env=environment | {"AVSSL_DISTRIBUTED": "1", "JAX_PLATFORMS": "cpu"},
    )  # fmt: skip
    assert process.returncode == 2
    assert "found no scheduler that says where process 0 is" in process.stderr


@pytest.mark.parametrize(
    "address", ["nohost", "host:", ":1234", "host:port", "host:0", "host:65536"]
)
def test_an_address_that_is_none_is_refused_at_once(address, run, monkeypatch, tmp_path):
    monkeypatch.setenv("AVSSL_COORDINATOR", address)
    code, _, told = run("pretrain", "--config", TINY_CONFIG, "--workdir", tmp_path / "run")
    assert code == 2
    assert f"--coordinator (AVSSL_COORDINATOR) is '{address}': give it as HOST:PORT" in told


def test_one_that_does_not_reach_the_coordinator_names_the_address_and_the_time():
    address = f"localhost:{free_port()}"
    environment = {**os.environ, "AVSSL_COORDINATOR": address, "JAX_PLATFORMS": "cpu"}
    place = {"AVSSL_NUM_PROCESSES": "2", "AVSSL_PROCESS_ID": "1"}
    process = subprocess.run(
        [sys.executable, "-c", JOIN.format(seconds=2)], env=environment | place, timeout=120,
        capture_output=True, text=True,
    )  # fmt: skip
    assert process.returncode == 1
    said = f"avssl: process 1 of 2 could not meet the others at {address} within 2 s; check the address"
    assert said in process.stderr


@pytest.mark.parametrize("place", ["2", "-1"])
def test_a_place_that_no_process_has_is_refused_at_once(place, run, tmp_path):
    words = (
        "--coordinator",
        f"localhost:{free_port()}",
        "--num-processes",
        2,
        "--process-id",
        place,
    )
    code, _, told = run("pretrain", "--config", TINY_CONFIG, "--workdir", tmp_path / "run", *words)
    assert code == 2
    assert f"there is no process {place} of 2: --process-id" in told


@pytest.mark.parametrize(
    "variable", ["AVSSL_NUM_PROCESSES", "AVSSL_PROCESS_ID", "AVSSL_CPU_DEVICES"]
)
def test_a_place_that_is_no_number_is_named(variable, run, monkeypatch, tmp_path):
    monkeypatch.setenv(variable, "two")
    code, _, told = run("pretrain", "--config", TINY_CONFIG, "--workdir", tmp_path / "run")
    assert code == 2
    assert f"{variable} is 'two'" in told
