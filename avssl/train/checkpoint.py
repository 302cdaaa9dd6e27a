"""Checkpoints of the run that owns its folder: saved in the background, whole or not at all.

What a reader may rely on: a folder named by a step holds every file that `manifest.json` lists,
because Orbax's temporary folder gets its manifest first and its name last. Kill -9 at any moment
leaves whole checkpoints and at most one temporary folder, which the next start removes.
"""

import contextlib
import json
import logging
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from avssl.console import warn
from avssl.errors import AvsslError, UsageError
from avssl.train.agreement import agreed
from avssl.train.checkpoint_commit import (
    check_renames,
    committed_steps,
    remove_leftovers,
    step_writer,
)
from avssl.train.checkpoint_reader import CheckpointReader, Tree, going_on, read_checkpoint
from avssl.train.checkpoint_tree import nested, num_bytes
from avssl.train.disk_errors import why_not_written, write_error
from avssl.train.ownership import Ownership

__all__ = ["Checkpoints", "read_checkpoint"]

POLL_SECONDS = 0.02


class Checkpoints(CheckpointReader):
    """Saves, and starts again from what was saved; keeps the newest `keep`.

    Opened by every process of a run, and all of them make the same calls. Process 0 alone removes
    leftovers and moves damaged folders aside, to `damaged-STEP`: left in place, Orbax would name
    one of them the latest and quietly refuse to save until its step is passed.
    """

    def __init__(self, folder: str | Path, *, keep: int = 3):
        super().__init__(folder)
        if keep < 1:
            raise UsageError(f"checkpoint.keep is {keep}; a run needs at least one checkpoint")
        self._keep = keep
        self._manager: ocp.CheckpointManager | None = None
        self._ownership: Ownership | None = None
        self._saving: tuple[int, int] | None = None  # step and bytes of the save under way
        self._abandoned = False  # a save that failed here, and that other processes still wait for
        _quiet_orbax()
        if jax.process_index() == 0:
            with self._explained():
                self.folder.mkdir(parents=True, exist_ok=True)
                self._ownership = Ownership(self.folder)
                remove_leftovers(self.folder)
                check_renames(self.folder)
        ocp.multihost.sync_global_processes("avssl:checkpoints_opened")

    def latest(self) -> int | None:
        """The newest sound step; what is damaged on the way there is moved aside, with a word.

        None only where nothing was saved: to give up all that was is for a person to decide.
        """
        self.wait()
        # The others must not look while process 0 moves things aside.
        step = agreed(self._found() if jax.process_index() == 0 else None)
        if step is not None:
            self._sound.add(step)
        if self._manager is None:
            self._manager = self._open_manager()
        else:
            self._manager.reload()
        return step

    def save(self, step: int, items: Mapping[str, Tree], meta: Mapping[str, Any]) -> bool:
        """Start saving; False if this step is there already. The arrays may be donated at once.

        `meta` is anything that JSON can hold. An earlier save that failed is reported here.
        """
        if self._manager is None:
            self.latest()
        self.wait()
        assert self._manager is not None
        if step in self._manager.all_steps():
            return False
        trees = {name: nested(jax.tree.map(_detached, tree)) for name, tree in items.items()}
        arguments: dict[str, ocp.args.CheckpointArgs] = {
            name: ocp.args.PyTreeSave(tree) for name, tree in trees.items() if tree
        }
        if "meta" in arguments:
            raise ValueError("the item name 'meta' is taken by the JSON beside the arrays")
        arguments["meta"] = ocp.args.JsonSave(json.loads(json.dumps(meta)))
        self._saving = (step, num_bytes(trees))
        _errors_in_background.clear()
        with self._explained():
            self._manager.save(step, args=ocp.args.Composite(**arguments), force=True)
        return True

    def wait(self) -> None:
        """Until the save under way is on disk with its manifest, or has failed."""
        if self._manager is not None and not self._abandoned:
            with self._explained():
                self._wait(self._manager)
        self._saving = None

    def _wait(self, manager: ocp.CheckpointManager) -> None:
        # Where one of several processes fails to write, Orbax has it wait five minutes for the others
        # before it raises; what it logs comes at once.
        while jax.process_count() > 1 and manager.is_saving_in_progress():
            if _errors_in_background:
                raise _errors_in_background[-1]
            time.sleep(POLL_SECONDS)
        manager.wait_until_finished()

    def close(self) -> None:
        try:
            self.wait()
        finally:
            manager, self._manager = self._manager, None
            if manager is not None and not self._abandoned:
                manager.close()
            if self._ownership is not None:
                self._ownership.release()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open_manager(self) -> ocp.CheckpointManager:
        # Neither max_to_keep nor cleanup_tmp_directories: Orbax deletes in place, and by its own
        # idea of what is temporary. Not lightweight_initialize: its dates break the save that
        # follows a preemption. No save policy either: the loop decides, with force=True.
        options = ocp.CheckpointManagerOptions(
            create=False,
            enable_async_checkpointing=True,
            temporary_path_class=step_writer(self._keep),
        )
        return ocp.CheckpointManager(self.folder, options=options)

    def _found(self) -> int | None:
        chosen, faults = self._examined()
        if chosen is not None:
            for step, fault in faults.items():
                self._move_aside(step, fault, chosen)
        elif faults:
            raise AvsslError(
                f"no checkpoint in {self.folder} is sound ("
                f"{'; '.join(f'step {step}: {fault}' for step, fault in faults.items())}); nothing was moved: "
                "put back a copy of one, or remove these folders or take another --workdir to train from the "
                "beginning"
            )
        return chosen

    def _move_aside(self, step: int, fault: str, chosen: int) -> None:
        aside, copies = self.folder / f"damaged-{step}", 1
        while os.path.lexists(aside):
            copies += 1
            aside = self.folder / f"damaged-{step}-{copies}"
        with self._explained():
            os.rename(self.folder / str(step), aside)
        warn(
            f"the checkpoint of step {step} is damaged: {fault}; moved to "
            f"{self.folder.name}/{aside.name}, {going_on(chosen)}"
        )

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """One sentence for a disk that is full or closed to us; anything else passes through."""
        try:
            yield
        except AvsslError:
            raise
        except Exception as error:
            self._abandoned = self._manager is not None and jax.process_count() > 1
            reason = why_not_written(error)
            if reason is None:
                raise
            raise self._told(reason) from error

    def _told(self, reason: str) -> AvsslError:
        if self._saving is None:
            return write_error(f"cannot write to {self.folder}: {reason}", reason)
        step, needed = self._saving
        self._saving = None
        if jax.process_index() == 0:
            with contextlib.suppress(OSError):  # it only takes room; the next start tries again
                remove_leftovers(self.folder, step)
        kept = committed_steps(self.folder)
        last = f"the one of step {kept[-1]} is intact" if kept else "there is none before it"
        # What the last one took, if that is more: small arrays fill whole blocks.
        needed = max([needed, *(_bytes_on_disk(self.folder / str(last)) for last in kept[-1:])])
        free = shutil.disk_usage(self.folder).free
        return AvsslError(
            f"cannot save the checkpoint of step {step} in {self.folder}: {reason}; it needs up to "
            f"{needed:,} bytes and {free:,} are free; make room and start again ({last})"
        )


def _bytes_on_disk(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*"))


def _detached(leaf: Any) -> Any:
    """Host arrays are copied, since they are written later; Orbax copies those on devices."""
    return leaf if isinstance(leaf, jax.Array) else np.array(leaf)


_errors_in_background: list[BaseException] = []


def _quiet_orbax() -> None:
    """Orbax logs with a traceback every error that it also raises; we report what is raised."""
    absl = logging.getLogger("absl")
    if _not_from_orbax not in absl.filters:
        absl.addFilter(_not_from_orbax)


def _not_from_orbax(record: logging.LogRecord) -> bool:
    if f"{os.sep}orbax{os.sep}" not in record.pathname:
        return True
    if record.exc_info and record.exc_info[1] is not None:
        _errors_in_background.append(record.exc_info[1])
    return False
