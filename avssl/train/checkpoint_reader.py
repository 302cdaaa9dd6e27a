"""Reading checkpoints: verified, onto the devices at hand, and without touching the folder."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from avssl.console import warn
from avssl.errors import AvsslError, UsageError
from avssl.train import manifest
from avssl.train.agreement import agreed
from avssl.train.checkpoint_commit import step_folders
from avssl.train.checkpoint_tree import check_fit, like, nested, target

Tree = Any


class CheckpointReader:
    """The checkpoints of a run for someone who does not own it; the run may still be going on.

    But for `latest_of_all` it waits for no other process: one of several may read alone.
    """

    def __init__(self, folder: str | Path):
        if "://" in str(folder):
            raise UsageError(
                f"checkpoints need a file system with atomic renames, and {folder} is a bucket; "
                "mount it, or use a shared disk"
            )
        self.folder = Path(folder).absolute()
        self._sound: set[int] = set()

    def steps(self) -> list[int]:
        """The steps that have a folder, oldest first, verified or not."""
        try:
            return step_folders(self.folder)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise manifest.unreadable(self.folder, error) from error

    def latest(self) -> int | None:
        """The newest step whose files are all as they were saved. Reads every byte of it."""
        chosen, faults = self._examined()
        for step, fault in faults.items():
            left = "no sound checkpoint is left" if chosen is None else going_on(chosen)
            warn(f"{self.folder / str(step)} is damaged and left alone: {fault}; {left}")
        return chosen

    def latest_of_all(self) -> int | None:
        """`latest`, the same on all processes: process 0 alone looks, and the others take its word."""
        step = agreed(self.latest() if jax.process_index() == 0 else None)
        if step is not None:
            self._sound.add(step)
        return step

    def _examined(self) -> tuple[int | None, dict[int, str]]:
        """The newest sound step, and what is wrong with those that are not, as far as it matters."""
        faults: dict[int, str] = {}
        chosen = None
        for step in reversed(self.steps()):
            folder = self.folder / str(step)
            if chosen is not None and manifest.is_committed(folder):
                continue  # not looked into until it is needed
            try:
                fault = manifest.fault(folder)
            except AvsslError:
                if step in self.steps():
                    raise
                continue  # its owner has just removed it, as an old one
            if fault is None:
                chosen = step
                self._sound.add(step)
            elif step in self.steps():
                faults[step] = fault
        return chosen, faults

    def items(self, step: int) -> list[str]:
        """The names of what was saved, without those that had no arrays in them."""
        return sorted(entry.name for entry in (self.folder / str(step)).iterdir() if entry.is_dir())

    def restore(self, step: int, abstract: Mapping[str, Tree]) -> dict[str, Tree]:
        """The items asked for, and no others, as arrays of the given shapes, dtypes and shardings.

        `abstract`: item name to a tree of arrays or `jax.ShapeDtypeStruct`. A tree without leaves
        comes back as it is: nothing was saved for it.
        """
        self._require_sound(step)
        return {name: self._restore_item(step, name, tree) for name, tree in abstract.items()}

    def restore_host(self, step: int, names: Iterable[str]) -> dict[str, dict[str, Any]]:
        """The named items as numpy arrays in nested dicts, wherever they were saved from; `meta` as it is."""
        self._require_sound(step)
        return {
            name: self.meta(step) if name == "meta" else self._restore_host_item(step, name)
            for name in names
        }

    def meta(self, step: int) -> dict[str, Any]:
        self._require_sound(step)
        return dict(ocp.JsonCheckpointHandler().restore(self._item_folder(step, "meta")))

    def _restore_item(self, step: int, name: str, tree: Tree) -> Tree:
        wanted = nested(jax.tree.map(target, tree))
        if not wanted:
            return tree
        folder = self._item_folder(step, name)
        # The handler itself: Orbax's Checkpointer would wait for all processes.
        handler = ocp.PyTreeCheckpointHandler()
        check_fit(step, name, handler.metadata(folder).tree, wanted)
        arguments = ocp.args.PyTreeRestore(
            item=wanted, restore_args=ocp.checkpoint_utils.construct_restore_args(wanted)
        )
        return like(tree, handler.restore(folder, args=arguments))

    def _restore_host_item(self, step: int, name: str) -> dict[str, Any]:
        folder = self._item_folder(step, name)
        handler = ocp.PyTreeCheckpointHandler()
        as_numpy = jax.tree.map(
            lambda _: ocp.RestoreArgs(restore_type=np.ndarray),
            handler.metadata(folder).tree,
        )
        return handler.restore(folder, args=ocp.args.PyTreeRestore(restore_args=as_numpy))

    def _item_folder(self, step: int, name: str) -> epath.Path:
        folder = epath.Path(self.folder) / str(step) / name
        if not folder.is_dir():
            held = ", ".join(self.items(step))
            raise UsageError(f"the checkpoint of step {step} has no {name} (it has {held})")
        return folder

    def _require_sound(self, step: int) -> None:
        if step in self._sound:
            return
        if step not in self.steps():
            held = ", ".join(map(str, self.steps())) or "none"
            raise UsageError(f"{self.folder} has no checkpoint of step {step} (it has {held})")
        if fault := manifest.fault(self.folder / str(step)):
            raise AvsslError(f"the checkpoint {self.folder / str(step)} is damaged: {fault}")
        self._sound.add(step)


def read_checkpoint(
    folder: str | Path, names: Iterable[str], *, together: bool = False
) -> tuple[int, dict[str, dict[str, Any]]]:
    """The newest sound step of another run, and those of the named items that it has, as numpy.

    together: all processes of this run read it, and the other run may be saving meanwhile.
    """
    reader = CheckpointReader(folder)
    step = reader.latest_of_all() if together else reader.latest()
    if step is None:
        raise UsageError(f"{reader.folder} holds no checkpoint to start from")
    held = reader.items(step)
    return step, reader.restore_host(step, [name for name in names if name in held])


def going_on(step: int) -> str:
    return f"using the one of step {step}"
