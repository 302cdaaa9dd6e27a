"""The files that make a folder of shards a TFDS data set."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from etils import epath

from avssl.data.cache import write_whole
from avssl.data.records import DATASET, features, shard_name

LAST = "dataset_info.json"


def write_metadata(
    out: epath.Path,
    *,
    split: str,
    shard_lengths: Sequence[int],
    num_bytes: int,
    label_names: Sequence[str],
    description: str,
) -> None:
    """Writes features.json and the like; dataset_info.json, without which none opens, last."""
    import tensorflow_datasets as tfds

    template = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # TFDS writes in place and not last what must be last, so it works beside stand-ins: it
        # looks at the names of the shards alone.
        for shard in range(len(shard_lengths)):
            (folder / shard_name(split, shard, len(shard_lengths))).touch()
        info = tfds.core.SplitInfo(
            name=split,
            shard_lengths=list(shard_lengths),
            num_bytes=num_bytes,
            filename_template=tfds.core.ShardedFileTemplate(
                data_dir=epath.Path(folder),
                template=template,
                dataset_name=DATASET,
                split=split,
                filetype_suffix="array_record",
            ),
        )
        tfds.folder_dataset.write_metadata(
            data_dir=folder,
            features=features(label_names),
            split_infos=[info],
            filename_template=template,
            check_data=False,
            description=description,
        )
        written = sorted(path for path in folder.iterdir() if ".array_record-" not in path.name)
        for path in sorted(written, key=lambda path: path.name == LAST):
            write_whole(out / path.name, path.read_bytes())
