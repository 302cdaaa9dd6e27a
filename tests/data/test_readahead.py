"""Reading ahead by threads: in order, bounded, honest about errors, and no hindrance at the end."""

import subprocess
import sys
import threading
import time

import pytest

from avssl.data.readahead import ReadAhead


def test_results_come_in_order_however_long_each_takes():
    def read(number):
        time.sleep(0.02 * (number % 3 == 0))
        return number

    assert list(ReadAhead(read, 20, 3)) == list(range(20))


def test_no_more_is_read_than_one_for_each_thread():
    begun = []
    ahead = ReadAhead(begun.append, 100, 3)
    ahead.start_prefetch()
    time.sleep(0.2)
    assert sorted(begun) == [0, 1, 2]
    next(ahead)
    time.sleep(0.2)
    assert len(begun) == 4
    ahead.close()
    assert next(ahead, "end") == "end"


def test_threads_work_at_the_same_time():
    barrier = threading.Barrier(3, timeout=5)
    ahead = ReadAhead(lambda number: barrier.wait() >= 0, 3, 3)
    assert list(ahead) == [True] * 3


def test_an_error_comes_in_its_turn():
    def read(number):
        if number == 2:
            raise ValueError("rotten")
        return number

    ahead = ReadAhead(read, 10, 2)
    assert [next(ahead), next(ahead)] == [0, 1]
    for _ in range(2):
        with pytest.raises(ValueError, match="rotten"):
            next(ahead)
    ahead.close()


def test_closing_frees_whoever_waits():
    release = threading.Event()
    ahead = ReadAhead(lambda number: release.wait(), 10, 1)
    threading.Timer(0.1, ahead.close).start()
    assert next(ahead, "end") == "end"
    release.set()


def test_closing_waits_for_a_read_under_way():
    """Cut off at the end of the interpreter, inside a C++ reader, it would abort the process."""
    begun, ended = threading.Event(), threading.Event()

    def read(_number):
        begun.set()
        time.sleep(0.3)
        ended.set()

    ahead = ReadAhead(read, 10, 1)
    ahead.start_prefetch()
    assert begun.wait(5)
    ahead.close()
    assert ended.is_set()


def test_a_read_that_hangs_does_not_keep_the_interpreter():
    program = (
        "import threading\n"
        "from avssl.data.readahead import ReadAhead\n"
        "ReadAhead(lambda number: threading.Event().wait(), 10, 2).start_prefetch()\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=20)
