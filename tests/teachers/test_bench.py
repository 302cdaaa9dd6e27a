"""Online and stored teachers are timed over the same clips, and a store says what it takes."""

import pytest

from avssl.bench.teachers import bench_teachers, joining_fact
from avssl.config import load_config, resolve
from avssl.errors import UsageError
from avssl.evaluate.results import INTRODUCTION
from avssl.teachers.store import TargetStore
from avssl.teachers.teach import teach
from tests.teachers.stores import DATA

CONFIG = "tests/teachers/student_config.py"
# 16-bit embeddings of 8 and logits of 4, in a record that names its key.
LEAST_BYTES = 2 * (8 + 4)


@pytest.fixture(scope="module")
def store(teacher_run, tmp_path_factory):
    out = tmp_path_factory.mktemp("store") / "middle"
    teach(
        str(teacher_run), DATA, str(out), encoder="audio", targets=("embedding", "logits"), batch_size=8
    )  # fmt: skip
    return out


def student(run="", store=""):
    config = load_config(CONFIG)
    config.teachers.teacher.run = str(run)
    config.teachers.teacher.store = str(store)
    return resolve(config)


def test_both_ways_are_timed_and_the_store_is_weighed(teacher_run, store, tmp_path):
    file = tmp_path / "RESULTS.md"
    config = student(teacher_run, store)
    lines = list(bench_teachers(config, num_clips=8, num_steps=2, results=file))
    *_, table, last = lines
    assert last == f"wrote the section 'Teachers online and from stores' of {file}"
    rows = {
        cells[0]: cells[1:] for line in table.splitlines() if (cells := line[2:-2].split(" | "))
    }
    assert list(rows)[2:] == ["online", "cached", "cached, not joined"]
    assert all(float(rows[name][0]) > 0 for name in list(rows)[2:])
    assert all(float(rows[name][1]) > 0 for name in ("online", "cached"))
    assert any("joining costs" in line for line in lines)
    whole = sum(path.stat().st_size for path in store.glob("*array_record*"))
    taken = TargetStore(str(store)).bytes_per_clip
    assert LEAST_BYTES < taken <= whole / TargetStore(str(store)).meta["num_records"]
    assert rows["cached"][2] == f"{taken:,.0f}"
    written = file.read_text()
    assert written.startswith(INTRODUCTION)
    assert table in written
    assert config.teachers.teacher.store == str(store)


def test_what_joining_costs_is_a_number_where_it_is_more_than_rounds_differ_by():
    plain = [1.0, 1.02, 0.98, 1.01]
    assert joining_fact([1.1, 1.11, 1.09, 1.12], plain) == (
        "joining costs 11.2% ± 1.1% of the pipeline's time"
    )
    for joined in ([0.97, 1.03, 0.99, 1.0], [0.99, 1.04, 0.985, 1.01]):
        assert joining_fact(joined, plain).startswith("joining costs nothing measurable (±")


def test_bench_data_times_the_pipeline_with_the_targets_of_a_store_too(store, run):
    words = ("bench", "data", DATA, "--config", CONFIG, "--clips", "8")
    code, out, _ = run(*words, f"--config.teachers.teacher.store={store}")
    assert code == 0
    measured = dict(line.split(maxsplit=1) for line in out.splitlines() if " " in line)
    for key in ("clips_per_second_per_core", "clips_per_second_per_core_with_targets"):
        assert float(measured[key]) > 0


def test_without_both_there_is_nothing_to_compare(teacher_run, store):
    with pytest.raises(UsageError, match="no teacher that an objective asks has a store"):
        list(bench_teachers(student(teacher_run)))
    with pytest.raises(
        UsageError, match=r"set teachers\.teacher\.run to the teacher that wrote it"
    ):
        list(bench_teachers(student(store=store)))
