import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from avssl.data.open import open_source
from avssl.errors import UsageError

OPEN = """
import sys
from avssl.data.open import open_source
source = open_source(sys.argv[1])
print(len(source), source.fingerprint)
"""


def run(spec: str, cache) -> str:
    return subprocess.run(
        [sys.executable, "-c", OPEN, spec],
        env={"AVSSL_CACHE": str(cache), "PATH": ""}, check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip


def test_splits_labels_and_truth():
    train, test = open_source("world:tiny"), open_source("world:tiny@test")
    assert train.spec == "world:tiny"
    assert (len(train), len(test)) == (32, 16)
    assert train.label_names == test.label_names
    assert len(open_source("world:tiny@train[:25%]")) == 8
    assert {train.key(0), test.key(0)} == {"train/000000", "test/000000"}
    assert test[3].label == test[3].truth["label"] == test.labels()[3]
    assert train.fingerprint != test.fingerprint


def test_is_generated_once_and_found_again(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("AVSSL_CACHE", str(tmp_path))
    first = open_source("world:tiny@test")
    assert "generating world tiny@test" in capsys.readouterr().err
    start = time.monotonic()
    second = open_source("world:tiny@test")
    assert time.monotonic() - start < 1
    assert capsys.readouterr().err == ""
    assert second.fingerprint == first.fingerprint


def test_two_processes_that_want_it_at_once_share_it(tmp_path):
    with ThreadPoolExecutor() as pool:
        said = list(pool.map(lambda _: run("world:tiny@test", tmp_path), range(2)))
    assert said[0] == said[1]
    assert said[0].startswith("16 ")
    assert len(list((tmp_path / "worlds").glob("*/test/dataset_info.json"))) == 1


def test_generation_that_was_killed_goes_on(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", OPEN, "world:tiny@train"],
        env={"AVSSL_CACHE": str(tmp_path), "PATH": ""},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        deadline = time.monotonic() + 60
        while not (notes := list(tmp_path.glob("*/*/train/.build/avssl-*.json"))):
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.kill()
    assert not list(tmp_path.glob("*/*/train/dataset_info.json"))
    shard = notes[0].parent.parent / notes[0].stem
    written = shard.stat().st_mtime_ns
    assert run("world:tiny@train", tmp_path).startswith("32 ")
    # What was there was not made again.
    assert shard.stat().st_mtime_ns == written


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("world:quikstart", "did you mean 'quickstart'"),
        ("world:tiny@tset", "did you mean 'test'"),
        ("world:tiny@train+test", r"write world:tiny@train\+world:tiny@test"),
    ],
)
def test_wrong_worlds(spec, message):
    with pytest.raises(UsageError, match=message):
        open_source(spec)


def test_a_cache_that_cannot_be_written_to_says_so(tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("a file")
    monkeypatch.setenv("AVSSL_CACHE", str(tmp_path / "cache"))
    with pytest.raises(UsageError, match=r"is not a folder.*AVSSL_CACHE"):
        open_source("world:tiny@test")
