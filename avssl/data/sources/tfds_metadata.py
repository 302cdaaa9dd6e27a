"""The metadata of a TFDS folder, read without a look at its shards."""

import os
import tempfile

from etils import epath

from avssl.data.keys import printable
from avssl.errors import UsageError, unknown


def open_builder(path: str, split: str | None):
    root = epath.Path(path).expanduser()
    if split and not root.exists() and epath.Path(f"{path}@{split}").expanduser().is_dir():
        root, split = epath.Path(f"{path}@{split}").expanduser(), None
    shown = printable(str(root))
    if not root.is_dir():
        raise UsageError(f"data set folder '{shown}' does not exist")
    if (root / ".build").exists() and not (root / "dataset_info.json").exists():
        raise UsageError(
            f"'{shown}' is an unfinished build; run the same 'avssl data build' again to finish it"
        )
    if not (root / "dataset_info.json").exists():
        inside = sorted(str(entry.parent) for entry in root.glob("*/*/dataset_info.json"))
        inside += sorted(str(entry.parent) for entry in root.glob("*/dataset_info.json"))
        hint = f"; did you mean tfds:{inside[0]}?" if inside else ""
        raise UsageError(f"'{shown}' has no dataset_info.json, so it is no TFDS data set{hint}")
    try:
        builder = _builder_of_metadata(root)
        file_format = builder.info.file_format
    # TFDS and protobuf raise whatever they met in a damaged file: all of it is bad input.
    except Exception as error:
        reason = printable(str(error).partition("\n")[0])
        raise UsageError(f"the metadata of '{shown}' cannot be read ({reason})") from error
    if file_format is None or file_format.value != "array_record":
        raise UsageError(
            f"'{shown}' holds {getattr(file_format, 'value', 'unknown')} files; only array_record "
            "gives records in any order (tfds: convert_format)"
        )
    names = sorted(getattr(builder.info.features, "keys", list)())
    if "media" not in names:
        has = ", ".join(names) or "none by name"
        raise UsageError(f"'{shown}' has no feature 'media' (encoded bytes); it has: {has}")
    return str(root) if "://" in str(root) else os.path.abspath(root), split, builder


def _builder_of_metadata(root: epath.Path):
    """Read in a folder of its own, which TFDS lists for each text feature: there may be thousands of shards."""
    import tensorflow_datasets as tfds

    with tempfile.TemporaryDirectory() as name:
        for file in ("dataset_info.json", "features.json", "label.labels.txt"):
            if (root / file).exists():
                (epath.Path(name) / file).write_bytes((root / file).read_bytes())
        return tfds.builder_from_directory(name)


def chosen_split(splits, split: str | None, root: str):
    names = sorted(splits)
    if split is None:
        if len(names) != 1 and "train" not in names:
            raise UsageError(f"'{root}' has the splits {', '.join(names)}; choose one with @SPLIT")
        split = "train" if "train" in names else names[0]
    bare = split.partition("[")[0].partition("+")[0].strip()
    if bare not in names and bare != "all":
        raise unknown(f"split of '{printable(root)}'", bare, names)
    try:
        return splits[split]
    except (ValueError, KeyError, AssertionError) as error:
        reason = printable(str(error).strip().splitlines()[-1])
        raise UsageError(f"split '{printable(split)}' cannot be read: {reason}") from error
