"""The other processes of a run: whatever ends one of them ends all, and each says why.

Left alone, the others would wait in a collective for ever, or fail without a name, or meet the one that
failed in a farewell that neither can reach.
"""

import contextlib
import ctypes
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import jax

from avssl.errors import Preempted

BEAT_SECONDS = 1.0
# Beats of ours without one of theirs, so that the sleep of a whole machine counts for nothing.
SILENT_BEATS = 25
# The same once a collective has failed, which says that somebody is gone but not who.
SUSPECTED_BEATS = 6
# How long one that failed waits for the others to end by themselves, by the same fault.
GRACE_BEATS = 3
# How long process 0 then waits for them: longer than they do, who count from when they hear of it.
FAREWELL_BEATS = GRACE_BEATS + 6

FOLDER = "avssl/peers"
# The last words of a process begin so.
ENDS = ("done", "left")
RESTART = "start all of them again, and the run goes on from its last checkpoint"


@contextlib.contextmanager
def together(report: Callable[[BaseException], int]) -> Iterator[None]:
    """Around the run, after the processes have joined. `report` prints an error and gives the exit code."""
    if not jax.distributed.is_initialized():
        yield
        return
    # The key-value store of the processes has no public name; JAX's own experimental rooms use it so.
    from jax._src.distributed import global_state

    watch = Watch(global_state.client, global_state.process_id, global_state.num_processes)
    _watches.append(watch)
    try:
        yield
    except Preempted:
        watch.end("done")  # all of them stop at this step
        raise
    except BaseException as error:
        if isinstance(error, jax.errors.JaxRuntimeError):
            watch.suspect()
        code = report(error)
        watch.end(f"left {str(error) or type(error).__name__}")
        watch.wait_for_others()
        leave(code)
    watch.end("done")


class Watch:
    """Says in the processes' common store that we live, and sees who else does."""

    def __init__(self, client: Any, process_id: int, num_processes: int):
        self._client = client
        self._own = process_id
        self._last: dict[str, str] = {}
        self._silent = {str(peer): 0 for peer in range(num_processes) if peer != process_id}
        self._patience = SILENT_BEATS
        self._lost = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="peers", daemon=True)
        self._thread.start()

    def suspect(self) -> None:
        """Waits until the one that is gone is named, which ends this process too; or until none is."""
        self._patience = SUSPECTED_BEATS
        self._thread.join((SUSPECTED_BEATS + GRACE_BEATS) * BEAT_SECONDS)
        if self._lost:
            self._thread.join()

    def end(self, word: str) -> None:
        """Says how we ended; from now on nobody's end is ours."""
        self._stop.set()
        self._thread.join()
        with contextlib.suppress(jax.errors.JaxRuntimeError):  # then nobody is left to hear it
            self._tell(word)

    def wait_for_others(self) -> None:
        """Process 0 keeps the store, and its end would cut off what the others have to say."""
        if self._own != 0:
            return
        for _ in range(FAREWELL_BEATS):
            with contextlib.suppress(jax.errors.JaxRuntimeError):
                words = self._words()
                # One that has not said anything yet has just begun.
                others = self._silent.keys() - {self._lost}
                if all(words.get(peer, "").startswith(ENDS) for peer in others):
                    return
            time.sleep(BEAT_SECONDS)

    def _run(self) -> None:
        beat = 0
        while not self._stop.wait(BEAT_SECONDS):
            beat += 1
            try:
                self._tell(f"beat {beat}")
                words = self._words()
            except jax.errors.JaxRuntimeError:
                return  # the store is gone with process 0: JAX aborts us, see `explain_abort`
            self._judge(words)

    def _judge(self, words: dict[str, str]) -> None:
        for peer in self._silent:
            word = words.get(peer, "")
            if word == "done":
                self._silent[peer] = 0
                continue
            self._silent[peer] = self._silent[peer] + 1 if word == self._last.get(peer, "") else 0
            if word.startswith("left") and self._silent[peer] > GRACE_BEATS:
                self._give_up(peer, f"process {peer} has stopped: {word.removeprefix('left ')}")
            if self._silent[peer] > self._patience:
                self._give_up(
                    peer,
                    f"process {peer} is lost {when()}: it was killed, or cannot be reached; {RESTART}",
                )
        self._last = words

    def _give_up(self, lost: str, why: str) -> NoReturn:
        self._lost = lost
        print(f"avssl: process {self._own}: {why}", file=sys.stderr)
        with contextlib.suppress(jax.errors.JaxRuntimeError):
            self._tell(f"left {why}")
        # Else those who count a beat later would only hear that process 0 is gone.
        self.wait_for_others()
        leave(1)

    def _tell(self, word: str) -> None:
        self._client.key_value_set(f"{FOLDER}/{self._own}", word, allow_overwrite=True)

    def _words(self) -> dict[str, str]:
        pairs = self._client.key_value_dir_get(FOLDER)
        return {key.rsplit("/", 1)[1]: word for key, word in pairs}


def finished(step: int) -> None:
    """To be told of each step: all processes take it together, so it is the last of one that is lost."""
    global _last_step
    _last_step = step


def when() -> str:
    return (
        "before the first step of this start" if _last_step is None else f"after step {_last_step}"
    )


def own_name() -> str:
    """What this process calls itself, once it has joined the others."""
    # Not `jax.process_index`, which may start the backend: this is asked while the process is being aborted.
    from jax._src.distributed import global_state

    return f"process {global_state.process_id} of {global_state.num_processes}"


def coordinator_address() -> str | None:
    """Where JAX looks for process 0; None before it knows."""
    from jax._src.distributed import global_state

    return global_state.coordinator_address


def name_by_scheduler() -> str:
    """The same before, by what the scheduler tells each process."""
    environment = os.environ
    if number := environment.get("SLURM_PROCID"):
        return f"process {number} of {environment.get('SLURM_NTASKS', 'several')}"
    if number := environment.get("TPU_WORKER_ID"):
        return f"process {number}"
    return f"the process on {socket.gethostname()}"


def leave_together(code: int) -> NoReturn:
    """At once, as all others do in this moment; process 0 last."""
    for watch in _watches:
        watch.end("done")
        watch.wait_for_others()
    leave(code)


def leave(code: int) -> NoReturn:
    """At once: the orderly way out would wait for processes that do not come."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


_last_step: int | None = None  # of this start
_watches: list[Watch] = []  # the one of this process, if it has joined others
_handlers: list[Any] = []  # what C code may call must not be collected


def explain_abort(sentence: Callable[[], str]) -> None:
    """Exit code 1 and a sentence when JAX aborts this process.

    It does so from a thread of its own where processes do not come together, or when process 0 dies, and
    offers no other way in: its `missed_heartbeat_callback` cannot pass its argument to Python (jaxlib 0.10).
    """

    def ended(_number: int) -> None:
        with contextlib.suppress(OSError):  # nobody reads it
            os.write(2, f"avssl: {sentence()}\n".encode())
        os._exit(1)

    handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(ended)
    _handlers.append(handler)
    ctypes.CDLL(None).signal(signal.SIGABRT, handler)
