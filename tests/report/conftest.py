"""One small run that was trained: on clips of the smallest world, with names that want to be markup."""

from pathlib import Path

import pytest

from avssl.cli import main
from avssl.data.open import open_source
from tests.report.folders import TINY

# A class and a file name that a careless page would run.
CLASSES = ("</td><script>alert(1)</script>", "plain & simple")
KEY = "<script>alert(2)<.mp4"
DAMAGED = "damaged.mp4"


def write_videos(folder: Path) -> Path:
    """Manifests of clips with the classes above; the test part has one that cannot be read."""
    folder.mkdir()
    parts = {
        "train": [(f"train{number:02}.mp4", number) for number in range(16)],
        "test": [(KEY, 0), *[(f"test{number:02}.mp4", number) for number in range(1, 12)]],
    }
    for part, files in parts.items():
        source = open_source(f"world:tiny@{part}")
        lines = ["path,label"]
        for name, number in files:
            media = source[number].media
            (folder / name).write_bytes(
                media if isinstance(media, bytes) else Path(media).read_bytes()
            )
            lines.append(f'"{name}","{CLASSES[number % 2]}"')
        if part == "test":
            (folder / DAMAGED).write_bytes(b"no media")
            lines.append(f'"{DAMAGED}","{CLASSES[1]}"')
        (folder / f"{part}.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("report")
    videos, folder = write_videos(place / "videos"), place / "run"
    code = main([
        "pretrain", "--config", TINY, "--workdir", str(folder), "--config.steps=2",
        f"--config.data.source=manifest:{videos}/train.csv",
        f"--config.eval.data=manifest:{videos}/train.csv",
        f"--config.eval.test_data=manifest:{videos}/test.csv",
        "--config.eval.protocols=",
    ])  # fmt: skip
    assert code == 0
    return folder
