"""`--profile`: the steps that were asked for are in the trace, and the run is the one without it."""

from pathlib import Path

import jax
import jax.numpy as jnp
from jax.profiler import ProfileData

from avssl.train.profile import StepProfile
from tests.train.command_line import assert_identical

STEPS = ("steps=7", "checkpoint.every_steps=4")


def events(folder: Path) -> list[dict]:
    """What is known of each event of the only trace in a folder."""
    [file] = folder.rglob("*.xplane.pb")
    planes = ProfileData.from_file(str(file)).planes
    return [dict(event.stats) for plane in planes for line in plane.lines for event in line.events]


def traced_steps(folder: Path) -> list[int]:
    return sorted(one["step_num"] for one in events(folder) if "step_num" in one)


def test_a_run_with_a_profile_is_the_same_run(pretrain, tmp_path):
    plain, profiled = tmp_path / "plain", tmp_path / "profiled"
    assert pretrain(*STEPS, workdir=plain)[0] == 0
    code, said, _ = pretrain(*STEPS, "--profile=steps=3:5", workdir=profiled)
    assert code == 0
    assert f"profile: {profiled / 'profile'}" in said
    assert_identical(profiled, plain)
    assert not (plain / "profile").exists()
    assert traced_steps(profiled) == [3, 4, 5]
    on_devices = [one for one in events(profiled) if one.get("hlo_module") == "jit_step"]
    assert {one["device_ordinal"] for one in on_devices} == set(range(jax.device_count()))
    assert len({one["run_id"] for one in on_devices}) == 3


def test_a_run_that_stops_earlier_writes_what_there_is(tmp_path):
    with StepProfile((2, 5), tmp_path, start=0) as profile:
        for step in range(1, 4):
            profile.begin(step, jnp.ones(3))
            if step < 3:
                profile.end(step, jnp.ones(3))
    assert traced_steps(tmp_path) == [2, 3]


def test_steps_that_are_over_are_said(tmp_path, capsys):
    with StepProfile((2, 5), tmp_path, start=5) as profile:
        profile.begin(6, jnp.ones(3))
        profile.end(6, jnp.ones(3))
    assert "the run goes on after step 5, and 5 is behind it" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_a_run_that_goes_on_in_between_traces_the_rest(tmp_path):
    with StepProfile((2, 5), tmp_path, start=3) as profile:
        for step in range(4, 8):
            profile.begin(step, jnp.ones(3))
            profile.end(step, jnp.ones(3))
    assert traced_steps(tmp_path) == [4, 5]


def test_a_trace_that_cannot_be_written_stops_nothing(tmp_path, monkeypatch, capsys):
    stop_trace = jax.profiler.stop_trace

    def fail() -> None:
        stop_trace()
        raise RuntimeError("No space left on device")

    monkeypatch.setattr(jax.profiler, "stop_trace", fail)
    with StepProfile((1, 1), tmp_path, start=0) as profile:
        profile.begin(1, jnp.ones(3))
        profile.end(1, jnp.ones(3))
    assert "No space left on device" in capsys.readouterr().err
