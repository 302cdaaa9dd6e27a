"""How a checkpoint becomes visible, and how an old one goes: by one rename each."""

import os
import shutil
from pathlib import Path
from typing import Any

import orbax.checkpoint as ocp

from avssl.errors import UsageError
from avssl.train import manifest

TEMPORARY = ocp.path.atomicity.TMP_DIR_SUFFIX


def committed_steps(folder: Path) -> list[int]:
    return [step for step in step_folders(folder) if manifest.is_committed(folder / str(step))]


def step_folders(folder: Path) -> list[int]:
    """The steps that have a folder, in order, whether sound or not."""
    names = [entry.name for entry in os.scandir(folder) if entry.is_dir()]
    return sorted(int(name) for name in names if name.isdecimal() and str(int(name)) == name)


def remove_leftovers(folder: Path, step: int | None = None) -> None:
    """Remove what killed or failed saves left behind: folders named by Orbax or by us only."""
    for path in folder.iterdir():
        owner, found, _ = path.name.partition(TEMPORARY)
        if found and owner.isdecimal() and step in (None, int(owner)) and not path.is_symlink():
            shutil.rmtree(path)


def check_renames(folder: Path) -> None:
    """Renames a folder with something in it, as every save will: not all mounted buckets do that."""
    # Named as what a killed save leaves behind, so that the next start removes it.
    before, after = (folder / f"0{TEMPORARY}-{word}" for word in ("renaming", "renamed"))
    (before / "item").mkdir(parents=True)
    (before / "item" / "file").write_bytes(b"0")
    try:
        os.rename(before, after)
    except OSError as error:
        raise UsageError(
            f"a folder in {folder} cannot be renamed ({error.strerror}), which is how a checkpoint is "
            "committed: mount a bucket by gcsfuse with rename-dir-limit=200000, or take one with "
            "hierarchical namespace"
        ) from error
    finally:
        remove_leftovers(folder, 0)


def step_writer(keep: int) -> type[ocp.path.atomicity.AtomicRenameTemporaryPath]:
    """Orbax's temporary folder of a step, with a manifest in it before it gets its final name.

    Orbax calls `finalize` on process 0, in the background, after all hosts have written. So a
    folder with a step's name is complete and has its manifest, whenever the process is killed.
    """

    class StepWriter(ocp.path.atomicity.AtomicRenameTemporaryPath):
        def __init__(self, temporary_path: Any, final_path: Any, **options: Any):
            super().__init__(temporary_path, final_path, **options)
            self._options = options

        async def finalize(self) -> None:
            final = self.get_final()
            if TEMPORARY in final.parent.name:  # one item: the manifest of the step covers it
                await super().finalize()
                return
            staged = final.parent / f"{final.name}{TEMPORARY}-hashing"
            plain = ocp.path.atomicity.AtomicRenameTemporaryPath
            await plain(self.get(), staged, **self._options).finalize()
            manifest.write(Path(staged))
            os.rename(staged, final)
            _flush_names(Path(final.parent))
            _remove_old(Path(final.parent), keep)

    return StepWriter


def _remove_old(folder: Path, keep: int) -> None:
    # Orbax deletes in place: killed half-way it leaves a folder that looks like a damaged one.
    for step in committed_steps(folder)[:-keep]:
        doomed = folder / f"{step}{TEMPORARY}-old"
        os.rename(folder / str(step), doomed)
        shutil.rmtree(doomed)


def _flush_names(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
