import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

LOCAL = Path(__file__).parents[2] / "launch" / "local.sh"


def start(num_processes: int, devices: int, script: str) -> subprocess.Popen:
    command = [str(LOCAL), str(num_processes), str(devices), "bash", "-c", script]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(num_processes: int, devices: int, script: str) -> tuple[int, list[str], list[str]]:
    with start(num_processes, devices, script) as process:
        out, err = process.communicate(timeout=30)
    return process.returncode, sorted(out.splitlines()), sorted(err.splitlines())


def test_each_process_learns_its_place_and_labels_its_lines():
    code, out, err = ended(
        2,
        4,
        'echo "$AVSSL_PROCESS_ID of $AVSSL_NUM_PROCESSES with $AVSSL_CPU_DEVICES'
        ' at $AVSSL_COORDINATOR"; echo warned >&2; printf "no newline"',
    )
    assert code == 0
    places = [re.fullmatch(r"\[(\d)\] (\d) of 2 with 4 at (127\.0\.0\.1:\d+)", x) for x in out[::2]]
    assert [place.group(1, 2) for place in places] == [("0", "0"), ("1", "1")]
    assert len({place.group(3) for place in places}) == 1
    assert out[1::2] == ["[0] no newline", "[1] no newline"]
    assert err == ["[0] warned", "[1] warned"]


def test_arguments_arrive_as_they_were_given():
    command = [str(LOCAL), "1", "1", "printf", "<%s>", "two words", "", "$HOME *"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert result.stdout == "[0] <two words><><$HOME *>\n"


@pytest.mark.parametrize(
    ("codes", "expected"),
    [("0 0 0", 0), ("0 75 0", 75), ("75 75 75", 75), ("0 2 0", 1), ("75 1 75", 1)],
)
def test_exit_code(codes, expected):
    assert ended(3, 1, f"codes=({codes}); exit ${{codes[AVSSL_PROCESS_ID]}}")[0] == expected


def test_one_failure_stops_the_rest():
    begin = time.monotonic()
    code, out, err = ended(
        3,
        1,
        '[[ $AVSSL_PROCESS_ID == 1 ]] && exit 3; trap "echo stopped; exit 0" TERM; sleep 60 & wait',
    )
    assert code == 1
    assert out == ["[0] stopped", "[2] stopped"]
    assert err == ["local.sh: process 1 ended with exit code 3"]
    assert time.monotonic() - begin < 10


def test_a_killed_process_is_named():
    code, _, err = ended(2, 1, "[[ $AVSSL_PROCESS_ID == 1 ]] && kill -KILL $$; sleep 60 & wait")
    assert code == 1
    assert err == ["local.sh: process 1 was ended by signal 9"]


def test_a_process_that_does_not_stop_is_killed_with_its_children():
    script = '[[ $AVSSL_PROCESS_ID == 1 ]] && exit 3; trap "" TERM; sleep 100 & wait'
    result = subprocess.run(
        ["bash", str(LOCAL), "2", "1", "bash", "-c", script],
        capture_output=True,
        text=True,
        timeout=30,
        env={**os.environ, "AVSSL_STOP_SECONDS": "1"},
    )
    # It came back at all: the child held the pipe of its output open.
    assert result.returncode == 1


@pytest.mark.parametrize(("name", "number"), [("TERM", signal.SIGTERM), ("INT", signal.SIGINT)])
def test_signals_reach_every_process(name, number):
    script = f'trap "echo saved; exit 75" {name}; echo ready; sleep 60 & wait'
    with start(2, 1, script) as process:
        ready = sorted(process.stdout.readline() for _ in range(2))
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert ready == ["[0] ready\n", "[1] ready\n"]
    assert process.returncode == 75
    assert sorted(out.splitlines()) == ["[0] saved", "[1] saved"]
    assert err == ""


def test_control_c_on_a_terminal_reaches_every_process():
    on_a_terminal = (
        "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"
    )
    script = 'trap "echo saved; exit 75" INT; echo ready; sleep 60 & wait'
    with subprocess.Popen(
        [sys.executable, "-c", on_a_terminal, str(LOCAL), "2", "1", "bash", "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        shown = [process.stdout.readline() for _ in range(2)]
        process.stdin.write(b"\x03")
        process.stdin.flush()
        rest = process.stdout.read()
    assert process.returncode == 75
    assert sorted(shown) == [b"[0] ready\r\n", b"[1] ready\r\n"]
    assert rest.count(b"saved") == 2


@pytest.mark.parametrize("arguments", [["0", "1", "true"], ["2", "x", "true"], ["2", "4"]])
def test_wrong_usage(arguments):
    result = subprocess.run([str(LOCAL), *arguments], capture_output=True, text=True, timeout=30)
    assert result.returncode == 2
    assert result.stderr.startswith("usage: local.sh NUM_PROCESSES DEVICES_PER_PROCESS")
