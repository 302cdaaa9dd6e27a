"""Lines in a pipe, a bar on a terminal, one piece of advice, and a table that fits."""

import io
import re

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from avssl.train.progress import DataWaitAdvice, Progress, parameter_table


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def metrics(wait: float = 0.02) -> dict[str, float]:
    return {"loss": 2.34567, "clips_per_second": 45.25, "data_wait_fraction": wait, "other": 1.0}


def test_plain_lines_in_a_pipe():
    stream = io.StringIO()
    with Progress(0, 1000, stream) as progress:
        progress.update(10, metrics())
        progress.update(20, metrics())
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2
    pattern = r"step 20/1000  loss 2\.3457  45\.2 clips/s  data wait 2%  ETA \d\d:\d\d"
    assert re.fullmatch(pattern, lines[1])


def test_a_bar_on_a_terminal():
    stream = Terminal()
    with Progress(500, 1000, stream) as progress:
        progress.update(600, metrics())
    shown = stream.getvalue()
    assert "\r" in shown
    assert "600/1000" in shown
    assert "ETA" in shown
    assert "loss 2.3457  45.2 clips/s  data wait 2%" in shown


def advice_of(waits: list[float], every: int = 10) -> list[str]:
    advice = DataWaitAdvice(0)
    given = (advice.after(every * n, wait, 1.0) for n, wait in enumerate(waits, 1))
    return [words for words in given if words]


@pytest.mark.parametrize(
    ("waits", "words"),
    [
        ([0.05] * 60, []),
        ([0.9] * 5 + [0.05] * 60, []),  # while it warms up
        ([0.05] * 30 + [0.5] + [0.05] * 30, []),  # one hiccup
        ([0.05] * 30 + [0.25] * 60, ["step 330: 11%"]),  # over the last 100 steps, once
        ([0.25] * 60, ["step 150: 25%"]),
    ],
)
def test_advice_when_the_data_is_slow(waits, words):
    given = advice_of(waits)
    assert [line.split(" of the time")[0] for line in given] == words
    assert all("--config.data.cache=memory" in line for line in given)


def test_advice_appears_beside_the_lines(capfd):
    stream = io.StringIO()
    with Progress(0, 1000, stream) as progress:
        for step in range(10, 300, 10):
            progress.update(step, metrics(wait=0.3))
    told = capfd.readouterr().err.splitlines()
    assert len(told) == 1
    assert told[0].startswith("avssl: step 150: 30% of the time goes by waiting for data; try")


def test_every_array_has_a_row():
    params = {
        "video": {"kernel": jnp.zeros((3, 3, 64)), "bias": jnp.zeros((64,), jnp.bfloat16)},
        "scale": jax.ShapeDtypeStruct((), jnp.float32),
    }
    assert parameter_table(params).splitlines() == [
        "parameter     shape   dtype     size",
        "scale         scalar  float32      1",
        "video/bias    64      bfloat16    64",
        "video/kernel  3x3x64  float32    576",
        "641 parameters in 3 arrays, 0.0 MB",
    ]


def test_many_arrays_are_collapsed_by_sub_tree():
    block = {"kernel": jnp.zeros((10, 10)), "bias": jnp.zeros((10,))}
    params = {
        "encoders": {"video": {f"block{n}": block for n in range(30)}, "audio": {"only": block}},
        "head": {"kernel": jnp.zeros((4, 4), jnp.bfloat16)},
    }
    lines = parameter_table(params, max_rows=33).splitlines()
    assert len(lines) == 1 + 32 + 1
    assert "encoders/video/block7/*   2 arrays  float32    110" in lines
    lines = parameter_table(params, max_rows=10).splitlines()
    assert lines[1:] == [
        "encoders/audio/only/*  2 arrays   float32     110",
        "encoders/video/*       60 arrays  float32   3,300",
        "head/kernel            4x4        bfloat16     16",
        "3,426 parameters in 63 arrays, 0.0 MB",
    ]
    assert parameter_table({}).splitlines()[-1] == "0 parameters in 0 arrays, 0.0 MB"


def test_where_the_arrays_lie():
    mesh = jax.make_mesh((2, 4), ("data", "fsdp"), axis_types=(AxisType.Auto,) * 2)
    params = {
        "split": jax.device_put(
            jnp.zeros((2, 8)), NamedSharding(mesh, PartitionSpec(None, "fsdp"))
        ),
        "whole": jax.device_put(jnp.zeros((8,)), NamedSharding(mesh, PartitionSpec())),
        "alone": jnp.zeros((8,)),
    }
    lines = parameter_table(params, shardings=True).splitlines()
    assert [line.split()[-1] for line in lines[1:4]] == ["device", "-,fsdp", "whole"]
