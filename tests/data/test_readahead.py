"""Reading ahead by threads: in order, bounded, honest about errors, and no hindrance at the end."""

import contextlib
import subprocess
import sys
import threading
import time

import pytest

from avssl.data.readahead import ReadAhead


def filled_by(fill):
    """`begin` of items that are their own numbers, filled by `fill(number, part)`."""
    return lambda number: (number, lambda part: fill(number, part))


def test_items_come_in_order_with_every_part_filled():
    def begin(number):
        parts = []

        def fill(part):
            time.sleep(0.01 * (number % 3 == part))
            parts.append(part)

        return (number, parts), fill

    for place, (number, parts) in enumerate(ReadAhead(begin, 20, 3)):
        assert number == place
        assert sorted(parts) == [0, 1, 2]


def test_no_more_is_begun_than_one_for_each_thread():
    begun = []

    def begin(number):
        begun.append(number)
        return number, lambda part: None

    ahead = ReadAhead(begin, 100, 3)
    ahead.start_prefetch()
    time.sleep(0.2)
    assert begun == [0, 1, 2]
    next(ahead)
    time.sleep(0.2)
    assert begun == [0, 1, 2, 3]
    ahead.close()
    assert next(ahead, "end") == "end"


def test_all_threads_work_at_one_item():
    barrier = threading.Barrier(3, timeout=5)
    ahead = ReadAhead(filled_by(lambda number, part: barrier.wait()), 1, 3)
    assert list(ahead) == [0]


@pytest.mark.parametrize("rotten_part", [0, 1])
def test_an_error_comes_in_its_turn(rotten_part):
    def fill(number, part):
        if (number, part) == (2, rotten_part):
            raise ValueError("rotten")

    ahead = ReadAhead(filled_by(fill), 10, 2)
    assert [next(ahead), next(ahead)] == [0, 1]
    for _ in range(2):
        with pytest.raises(ValueError, match="rotten"):
            next(ahead)
    ahead.close()


def test_an_item_that_cannot_be_made_is_an_error():
    def begin(_number):
        raise ValueError("rotten")

    with pytest.raises(ValueError, match="rotten"):
        next(ReadAhead(begin, 10, 2))


def test_an_error_does_not_wait_for_the_other_parts():
    release = threading.Event()

    def fill(_number, part):
        if part:
            raise ValueError("rotten")
        release.wait()

    ahead = ReadAhead(filled_by(fill), 10, 2)
    with pytest.raises(ValueError, match="rotten"):
        next(ahead)
    release.set()
    ahead.close()


def test_a_wait_may_be_in_vain():
    release = threading.Event()
    with contextlib.closing(ReadAhead(filled_by(lambda *_: release.wait()), 1, 2)) as ahead:
        assert not ahead.wait(0.01)
        release.set()
        assert ahead.wait(5)
        assert next(ahead) == 0
        assert ahead.wait(0.01)
        assert next(ahead, "end") == "end"


def test_closing_frees_whoever_waits():
    release = threading.Event()
    ahead = ReadAhead(filled_by(lambda number, part: release.wait()), 10, 1)
    threading.Timer(0.1, ahead.close).start()
    assert next(ahead, "end") == "end"
    release.set()


def test_closing_waits_for_a_read_under_way():
    """Cut off at the end of the interpreter, inside a C++ reader, it would abort the process."""
    begun, ended = threading.Event(), threading.Event()

    def fill(_number, _part):
        begun.set()
        time.sleep(0.3)
        ended.set()

    ahead = ReadAhead(filled_by(fill), 10, 1)
    ahead.start_prefetch()
    assert begun.wait(5)
    ahead.close()
    assert ended.is_set()


def test_a_read_that_hangs_does_not_keep_the_interpreter():
    program = (
        "import threading\n"
        "from avssl.data.readahead import ReadAhead\n"
        "hang = lambda part: threading.Event().wait()\n"
        "ReadAhead(lambda number: (number, hang), 10, 2).start_prefetch()\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=20)
