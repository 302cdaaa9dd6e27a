"""Settings of every test: strict, on eight simulated devices, with a persistent compilation cache."""

import os
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# XLA's CPU collectives block threads of one pool: with too few of them they wait for each other.
os.environ.setdefault("NPROC", "64")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# Compiling is most of the suite's time; without the emitters by MLIR it takes half of it or two thirds.
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_use_fusion_emitters=false"

import jax
import pytest

CACHE = Path(os.environ.get("AVSSL_TEST_CACHE", Path.home() / ".cache" / "avssl-tests"))

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_disable_most_optimizations", True)
jax.config.update("jax_compilation_cache_dir", str(CACHE / "jax"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
# Generated worlds are shared by all tests and all runs of the suite.
os.environ.setdefault("AVSSL_CACHE", str(CACHE / "data"))

GOLDENS = Path(__file__).parent / "goldens"
TINY_CONFIG = "tests/train/tiny_config.py"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--goldens", type=Path, default=GOLDENS, help="folder of .npz files for tests/parity"
    )


@pytest.fixture(scope="session")
def goldens(request: pytest.FixtureRequest) -> Path:
    return request.config.getoption("--goldens")


@pytest.fixture(scope="module", autouse=True)
def forget_compiled_programs():
    """Those of all modules together would take gigabytes."""
    yield
    jax.clear_caches()


@pytest.fixture(autouse=True)
def optimised_where_marked(request: pytest.FixtureRequest):
    """Inputs of most tests are small, and compiling is what takes time; the mark is for the others."""
    optimised = request.node.get_closest_marker("optimised") is not None
    jax.config.update("jax_disable_most_optimizations", not optimised)
    yield
    jax.config.update("jax_disable_most_optimizations", True)


@pytest.fixture
def strict_dtypes():
    """For the tests of losses and signal: no silent promotion between dtypes."""
    with jax.numpy_dtype_promotion("strict"):
        yield


@pytest.fixture
def float64():
    """For proofs of equality."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def generated(capsys):
    """Opens a source without a word: whichever test is the first to open a world says that it is generated."""
    from avssl.data.open import open_source

    def opened(spec):
        source = open_source(spec)
        capsys.readouterr()
        return source

    return opened


@pytest.fixture
def run(capsys):
    """Runs a command line in this process; whatever happens, stderr is for people."""

    from avssl.cli import main

    def call(*words):
        code = main([str(word) for word in words])
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        assert "unexpected error" not in printed.err
        if code:
            assert printed.err.splitlines()[-1].startswith("avssl: ")
        return code, printed.out, printed.err

    return call


@pytest.fixture
def pretrain(run, tmp_path):
    """Trains the smallest config; words without dashes are overrides of its keys."""

    def call(*overrides, workdir=tmp_path / "run"):
        flags = [word if word.startswith("--") else f"--config.{word}" for word in overrides]
        return run("pretrain", "--config", TINY_CONFIG, "--workdir", workdir, *flags)

    return call
