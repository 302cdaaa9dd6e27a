"""The command line: exit codes, nearest names, help with an example for every verb."""

import re

import pytest

from avssl import listing
from avssl.cli import main
from avssl.command_line import parse
from avssl.objectives import OBJECTIVES, objective_defaults

VERBS = [
    ["pretrain"], ["evaluate"], ["data"], ["data", "build"], ["data", "inspect"], ["data", "verify"],
    ["finetune"], ["teach"], ["ablate"], ["report"], ["export"], ["import"], ["list"], ["bench"],
    ["bench", "data"], ["bench", "files"], ["bench", "step"], ["bench", "clusters"], ["bench", "bank"],
]  # fmt: skip
PRETRAIN = ["pretrain", "--config", "configs/quickstart.py", "--workdir", "never-made"]


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_help_has_an_example(verb, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*verb, "--help"])
    assert stop.value.code == 0
    assert re.search(r"example: avssl " + verb[0], capsys.readouterr().out)


@pytest.mark.parametrize(
    ("words", "nearest"),
    [
        (["pretrian"], "pretrain"),
        (["fientune"], "finetune"),
        (["tech"], "teach"),
        ([*PRETRAIN, "--init", "a", "--config.init_from=b"], "--init is short for"),
        (["data", "buld", "x", "y"], "build"),
        ([*PRETRAIN, "--workdri", "x"], "--workdir"),
        (["bench", "data", "world:tiny@train", "--vs", "trch"], "torch"),
        ([*PRETRAIN, "--profile", "steps=15:10"], "must be steps=FIRST:LAST"),
        ([*PRETRAIN, "--profile=steps=a"], "must be steps=FIRST:LAST"),
        ([*PRETRAIN, "--profile=steps=0:1"], "must be steps=FIRST:LAST"),
        (
            [
                *PRETRAIN,
                "--profile=steps=1:9",
                "--config.steps=8",
                "--config.data.source=folder:no",
            ],
            "the run has 8 steps",
        ),
        ([*PRETRAIN, "--config.objectives.xdi.weight=1"], "xid"),
        ([*PRETRAIN, "--config.batch_sise=8"], "batch_size"),
        ([*PRETRAIN, "--config.encoders.video.name=smal_video"], "small_video"),
        ([*PRETRAIN, "--config.encoders.video.dropot=0.1"], "encoders.video.dropout"),
        ([*PRETRAIN, "--config.optimizer.name=adamm"], "adam"),
        ([*PRETRAIN, "--config.data.source=wrld:tiny"], "world"),
        ([*PRETRAIN, "--config.data.source=world:quikstart"], "quickstart"),
        (
            ["pretrain", "--config", "configs/quickstart.py:quicktset", "--workdir", "x"],
            "quicktest",
        ),
        (["pretrain", "--config", "configs/quikstart.py", "--workdir", "x"], "quickstart.py"),
        (["list", "objectvies"], "objectives"),
        (["evaluate", "--workdir", "no-such-run"], "no run folder"),
        (["pretrain", "--workdir", "x"], "--config"),
        (["data", "verify", "folder:/no/such/folder"], "/no/such/folder"),
    ],
)
def test_wrong_usage_is_one_sentence_and_exit_2(words, nearest, capsys, tmp_path):
    if "never-made" in words:
        words = [str(tmp_path / "run") if word == "never-made" else word for word in words]
    assert main(words) == 2
    printed = capsys.readouterr()
    assert nearest in printed.err
    assert printed.err.startswith("avssl: ")
    assert printed.err.count("\n") == 1
    assert "Traceback" not in printed.err
    assert not (tmp_path / "run" / "checkpoints").exists()


# What each writes when all else is done.
WRITTEN = [
    ["plan", "--topology", "cpu:2", "--config", "configs/quickstart.py", "--sweep", "--keep"],
    ["plan", "--topology", "cpu:2", "--config", "configs/quickstart.py", "--sweep", "--results"],
    ["plan", "--topology", "cpu:2", "--walk"],
    ["evaluate", "--workdir", "never-made", "--json"],
    ["evaluate", "--workdir", "never-made", "--results"],
    ["bench", "data", "world:tiny@train", "--results"],
    ["bench", "bank", "--results"],
]


@pytest.mark.parametrize("words", WRITTEN, ids=" ".join)
@pytest.mark.parametrize(
    ("file", "why"), [("nowhere/file", "No such file or directory"), ("folder", "Is a directory")]
)
def test_a_file_that_cannot_be_written_is_refused_before_all_else(words, file, why, run, tmp_path):
    (tmp_path / "folder").mkdir()
    code, _, told = run(*words, tmp_path / file)
    assert code == 2
    assert f"argument {words[-1]}: must be a file in a folder that is there" in told
    assert f"'{tmp_path / file}' ({why})" in told
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_file_that_can_be_written_stays_as_it_is_until_then(tmp_path):
    new, old = tmp_path / "new.md", tmp_path / "old.md"
    old.write_text("# Results\n")
    for file in (new, old):
        assert parse(["bench", "bank", "--results", str(file)]).results == file
    assert old.read_text() == "# Results\n"
    assert list(tmp_path.iterdir()) == [old]


@pytest.mark.parametrize("place", [0, 1, 3])
def test_debug_shows_the_traceback_wherever_it_stands(place, capsys):
    words = ["data", "verify", "folder:/no/such/folder"]
    assert main([*words[:place], "--debug", *words[place:]]) == 2
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("encoders", ["r2plus1d18", "frontend.name = 'rgb'", "frontend.gain = 256.0"]),
        ("frontends", ["log_mel", "for audio", "equal_area = True", "rgb", "for video"]),
        ("configs", ["quickstart"]),
    ],
)
def test_list(what, expected, capsys):
    assert main(["list", what, "--verbose"]) == 0
    printed = capsys.readouterr().out
    assert [words for words in expected if words not in printed] == []


def test_list_shows_what_every_objective_reads_has_and_remembers(capsys):
    assert main(["list", "objectives", "--verbose"]) == 0
    shown = dict(
        entry.split(maxsplit=1) for entry in re.split(r"\n(?=\w)", capsys.readouterr().out)
    )
    assert shown.keys() == OBJECTIVES.keys()
    for name, text in shown.items():
        lines = text.splitlines()
        words = [line.split()[0] for line in lines[1:]]
        assert words[:3] == ["reads", "heads", "memory"], name
        assert words[3:] == list(objective_defaults(name)), name
    assert "student_bank [1000, 128]" in shown["crd"]
    assert "audio toward viewpoints by audio (train)" in shown["avsa"]


@pytest.mark.parametrize("installed", [False, True], ids=["beside the project", "installed alone"])
def test_list_away_from_the_project(installed, capsys, monkeypatch, tmp_path):
    """Heads and memory are shown, or what would show them is said."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(listing, "parts", lambda name, file: (f"head of {name}", ""))
    if installed:
        monkeypatch.setattr(listing, "__file__", str(tmp_path / "avssl" / "listing.py"))
    assert main(["list", "objectives", "--verbose"]) == 0
    printed = capsys.readouterr().out
    assert ("heads head of xid (" in printed) != installed
    assert ("run this from the project's root for heads and memory" in printed) == installed
