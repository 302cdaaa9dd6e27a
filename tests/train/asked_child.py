"""One of two processes of a run that is asked to stop before its first step or after its last; started by
test_preemption.py.

Arguments: coordinator address, process id, and what is going on when the request comes.
"""

import sys
import time

import jax

jax.config.update("jax_platforms", "cpu")

from avssl.errors import Preempted  # noqa: E402 - after the platform is chosen
from avssl.failures import report  # noqa: E402
from avssl.train.loop import sync_processes  # noqa: E402
from avssl.train.mesh import start_processes  # noqa: E402
from avssl.train.peers import together  # noqa: E402
from avssl.train.preemption import Preemption, nothing_to_save, stopping_at_once  # noqa: E402


def evaluate(preemption: Preemption, process_id: str, moment: str) -> None:
    """Process 0 does, for long; each asks meanwhile whether to stop, the other one more often."""
    sync_processes("evaluating")
    if process_id == "0":
        time.sleep(1)
    with preemption.at_once():
        if moment == "between steps":
            print("ready", flush=True)
        if process_id == "0":
            time.sleep(60 if moment == "between steps" else 2)
        sync_processes("evaluated in between")


def main(coordinator: str, process_id: str, moment: str) -> None:
    def at(name: str, seconds: float) -> None:
        if moment == name:
            print("ready", flush=True)
            time.sleep(seconds)

    with stopping_at_once():
        if process_id == "1" and moment == "joining":
            time.sleep(3)  # the other one waits for it
        if process_id == "0" and moment == "joining":
            print("ready", flush=True)
        start_processes(coordinator, 2, int(process_id))
        with together(lambda error: report(error, False)):
            sync_processes("started")
            at("starting", 3)
            if moment == "joining":
                time.sleep(2)  # until the service has heard of it
            with Preemption() as preemption:
                for step in range(500, 520):
                    if preemption.requested():
                        raise Preempted(f"stopped on request after step {step};")
                    if step == 505 and moment in ("between steps", "after that"):
                        evaluate(preemption, process_id, moment)
                    sync_processes(f"step {step}")
                    if step == 507:
                        at("after that", 3)
                at("last step", 3)
            sync_processes("trained")
            with nothing_to_save():
                at("evaluating", 0)
                if process_id == "0" and moment in ("last step", "evaluating"):
                    time.sleep(60)
                sync_processes("evaluated")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Preempted as error:
        sys.exit(report(error, False))
