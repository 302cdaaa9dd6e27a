"""The local cache of a config: asked for by training, missed by nobody else."""

import pytest

from avssl.config import load_config, override, resolve
from avssl.errors import UsageError
from avssl.train.sources import local_cache, open_data

WORLD = "world:tiny@test"


def config_of(folder) -> object:
    config = load_config("tests/train/tiny_config.py")
    override(config, [("data.local_cache", str(folder)), ("data.local_cache_gib", "1")])
    return resolve(config)


def entries(folder) -> int:
    return sum(path.is_file() and path.name.isdigit() for path in folder.rglob("*"))


def test_what_is_read_is_kept(tmp_path):
    source = open_data(config_of(tmp_path), WORLD)
    assert source[3].key == source.key(3)
    assert entries(tmp_path) == 1


def test_an_evaluation_elsewhere_goes_on_without(tmp_path, capsys):
    (tmp_path / "file").write_bytes(b"")
    config = config_of(tmp_path / "file")
    with pytest.raises(UsageError, match=r"data\.local_cache cannot write to"):
        open_data(config, WORLD)
    source = open_data(config, WORLD, needs_cache=False)
    assert source[3].key == source.key(3)
    assert "going on without" in capsys.readouterr().err


def test_runs_of_before_have_no_cache():
    config = resolve(load_config("tests/train/tiny_config.py"))
    del config.data["local_cache"], config.data["local_cache_gib"]
    assert local_cache(config) is None
