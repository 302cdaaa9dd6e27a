"""The background thread: ahead but not further, honest about waiting, gone when closed."""

import threading
import time

import pytest

from avssl.data.feed import DeviceFeed


class Batches:
    """Counts up, remembers how often it was asked and what it was told."""

    def __init__(self, count=1000, delay=0.0, error_at=None):
        self.count, self.delay, self.error_at = count, delay, error_at
        self.asked = 0
        self.told = []

    def __iter__(self):
        return self

    def __next__(self):
        if self.asked == self.error_at:
            raise ValueError("batch is rotten")
        if self.asked == self.count:
            raise StopIteration
        time.sleep(self.delay)
        self.asked += 1
        return self.asked - 1

    def close(self):
        self.told.append("close")


def feed_threads():
    return [thread for thread in threading.enumerate() if thread.name == "device-feed"]


def test_batches_come_placed_and_in_order_and_end():
    with DeviceFeed(Batches(5), lambda batch: batch * 10) as feed:
        assert list(feed) == [0, 10, 20, 30, 40]
        assert next(feed, "end") == "end"


@pytest.mark.parametrize("ahead", [2, 4])
def test_it_is_ahead_by_so_many_and_no_more(ahead):
    batches = Batches()
    with DeviceFeed(batches, lambda batch: batch, ahead) as feed:
        time.sleep(0.3)
        assert batches.asked == ahead
        next(feed)
        time.sleep(0.3)
        assert batches.asked == ahead + 1


def test_an_error_in_the_thread_is_raised_in_its_turn_and_again():
    with DeviceFeed(Batches(error_at=2), lambda batch: batch) as feed:
        assert [next(feed), next(feed)] == [0, 1]
        for _ in range(2):
            with pytest.raises(ValueError, match="batch is rotten"):
                next(feed)


def test_an_error_of_place_is_raised():
    def place(batch):
        raise MemoryError("device is full")

    with DeviceFeed(Batches(), place) as feed, pytest.raises(MemoryError, match="device is full"):
        next(feed)


def test_waiting_is_counted_and_only_waiting():
    with DeviceFeed(Batches(delay=0.1), lambda batch: batch) as feed:
        for _ in range(3):
            next(feed)
        assert 0.2 < feed.wait_seconds < 0.6
        before = feed.wait_seconds
        time.sleep(0.5)
        next(feed)
        assert feed.wait_seconds - before < 0.05


def test_closing_ends_the_thread_and_the_batches_at_once():
    batches = Batches()
    feed = DeviceFeed(batches, lambda batch: batch)
    next(feed)
    began = time.perf_counter()
    feed.close()
    feed.close()
    assert time.perf_counter() - began < 0.5
    assert batches.told == ["close"]
    assert not feed_threads()
    with pytest.raises(RuntimeError, match="closed"):
        next(feed)


def test_a_thread_that_is_stuck_does_not_hold_the_close_up(monkeypatch):
    monkeypatch.setattr("avssl.data.feed.JOIN_SECONDS", 0.1)
    release = threading.Event()

    class Stuck(Batches):
        def __next__(self):
            release.wait()
            raise StopIteration

    feed = DeviceFeed(Stuck(), lambda batch: batch)
    began = time.perf_counter()
    feed.close()
    assert time.perf_counter() - began < 1.0
    release.set()


def test_an_interrupt_while_waiting_leaves_a_feed_that_closes(monkeypatch):
    batches = Batches(delay=0.3)

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    feed = DeviceFeed(batches, lambda batch: batch)
    monkeypatch.setattr(feed._ready, "get", interrupt)
    with pytest.raises(KeyboardInterrupt):
        next(feed)
    feed.close()
    assert not feed_threads()
