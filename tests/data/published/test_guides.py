"""The preparation pages say what works: their commands, their configs, and their layouts."""

import re
import shlex
from pathlib import Path

import pytest

from avssl.command_line import parse
from avssl.config import load_config, override, resolve
from avssl.data.guide import TOLD_WITH, pages
from avssl.data.open import open_source
from avssl.data.sources.published import OPENERS
from avssl.data.spec import parse as parts_of
from avssl.media.probe import probe

# The small trees that the readers are tested with, by the kinds they are of.
from tests.data.published.test_action_sets import (
    activitynet,  # noqa: F401
    hmdb51,  # noqa: F401
    kinetics,  # noqa: F401
    ucf101,  # noqa: F401
)
from tests.data.published.test_localization_sets import flickr, vggss  # noqa: F401
from tests.data.published.test_pair_sets import mavd, voxceleb, yt360  # noqa: F401
from tests.data.published.test_picture_sets import places, sun397, voc  # noqa: F401
from tests.data.published.test_sound_sets import (
    audioset,  # noqa: F401
    dcase2017,  # noqa: F401
    dcase2018,  # noqa: F401
    esc50,  # noqa: F401
    vggsound,  # noqa: F401
)

TREES = {"flickr_soundnet": "flickr", "places365": "places", "voc2007": "voc"}
PAGES = pages()


def commands_of(text: str) -> list[list[str]]:
    """The words of each command line of a page, without `avssl`."""
    found = re.findall(r"^    avssl ((?:.*\\\n)*.*)$", text, re.MULTILINE)
    return [shlex.split(command.replace("\\\n", " ")) for command in found]


COMMANDS = [(name, words) for name, text in PAGES.items() for words in commands_of(text)]
FIRST = [
    next(words for words in commands_of(text) if words[:2] == ["data", verb])
    for text in PAGES.values()
    for verb in ("inspect", "build")
]
# One of each sort of files; a build of every tree takes half a minute.
QUICK = ("ucf101", "dcase2017", "voc2007", "vggss")


def test_every_kind_of_source_has_a_page_with_all_its_parts(run):
    assert {TOLD_WITH.get(kind, kind) for kind in OPENERS} == {*PAGES}
    for name, text in PAGES.items():
        assert 15 <= len(text.splitlines()) <= 45, name
        for part in ("**Official list.**", "**Terms.**", "**Build.**", "**Use.**", "**Pitfalls.**"):
            assert text.count(part) == 1, (name, part)
        code, out, _ = run("data", "guide", name)
        assert code == 0
        assert out == text
    for kind in OPENERS:
        assert (
            f"avssl data build {kind}:/data/" in PAGES[TOLD_WITH.get(kind, kind)] or kind == "esc10"
        )
    code, out, _ = run("data", "guide")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == [*PAGES]
    assert run("data", "guide", "esc10")[1] == PAGES["esc50"]
    code, _, err = run("data", "guide", "ucf102")
    assert code == 2
    assert "did you mean 'ucf101'" in err


def test_the_readme_names_every_page():
    with open("README.md", encoding="utf-8") as file:
        readme = file.read()
    for name in PAGES:
        assert f"(avssl/data/guides/{name}.md)" in readme


@pytest.mark.parametrize(("name", "words"), COMMANDS)
def test_commands_and_configs_are_there(name, words):
    arguments = parse(words)
    assert arguments.function is not None
    if getattr(arguments, "config", None):
        config = load_config(arguments.config)
        override(config, arguments.overrides)
        config = resolve(config)
        for spec in (config.data.source, config.eval.data, config.eval.test_data):
            assert not spec or parts_of(spec)
    for flag in ("data", "test_data", "spec"):
        if isinstance(spec := getattr(arguments, flag, None), str) and spec:
            assert parts_of(spec)


def test_what_is_used_was_built():
    """Built sets in the commands are those that the page's builds write, under the split that they have."""
    for name, text in PAGES.items():
        built = {words[3] for words in commands_of(text) if words[:2] == ["data", "build"]}
        used = text
        for words in commands_of(text):
            if (arguments := parse(words)) and getattr(arguments, "config", None):
                config = load_config(arguments.config)
                override(config, arguments.overrides)
                used += f" {config.data.source} "
        for path, split in re.findall(r"tfds:([\w/-]+)@(\w+)", used):
            assert path in built, (name, path)
            assert split == "train"


def test_configs_read_the_split_that_a_build_writes():
    for path in Path("configs").rglob("*.py"):
        splits = re.findall(r"tfds:[\w/-]+@(\w+)", path.read_text(encoding="utf-8"))
        assert {*splits} <= {"train"}, path


def test_configs_read_what_a_page_or_they_themselves_build():
    on_pages = {words[3] for _, words in COMMANDS if words[:2] == ["data", "build"]}
    for path in Path("configs").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        own = re.findall(r"^  avssl data build \S+ (\S+)", text, re.MULTILINE)
        assert {*re.findall(r"tfds:([\w/-]+)", text)} <= on_pages | {*own}, path


def test_configs_read_lists_that_the_page_of_their_data_names():
    # What is filled in as the config is made stands in its defaults alone.
    named = re.compile(rf"({'|'.join(OPENERS)}):[\w/-]+@(\w+)(?![\w{{])")
    for path in (path for path in Path("configs").rglob("*.py") if "ablations" not in path.parts):
        config = load_config(str(path))
        specs = f"{config.data.source} {config.eval.data} {config.eval.test_data}"
        for kind, split in named.findall(f"{path.read_text(encoding='utf-8')} {specs}"):
            assert re.search(rf"@{split}\b", PAGES[TOLD_WITH.get(kind, kind)]), (path, split)


def marks_of(words: list[str]) -> list:
    quick = words[1] == "inspect" or words[2].startswith(QUICK)
    return [] if quick else [pytest.mark.slow]


@pytest.mark.parametrize(
    "words", [pytest.param(words, id=" ".join(words), marks=marks_of(words)) for words in FIRST]
)
def test_layouts_are_read_as_the_page_says(words, request, run, tmp_path):
    kind = words[2].partition(":")[0]
    root = request.getfixturevalue(TREES.get(kind, kind))
    spec = re.sub(r"/data/\w+", str(root), words[2])
    if words[1] == "inspect":
        code, _, err = run("data", "inspect", spec, "--out", tmp_path / "sheets")
        assert (tmp_path / "sheets" / "contact_sheet.png").exists()
    else:
        code, _, err = run("data", "build", spec, tmp_path / "built", *words[4:], "--workers", 1)
        assert len(open_source(f"tfds:{tmp_path}/built")) > 0
    assert code == 0, err


@pytest.mark.parametrize(
    ("kind", "split", "channels", "streams"),
    [("yt360", "train", 4, ()), ("mavd", "train_all", 2, ("thermal", "depth"))],
)
def test_what_a_build_keeps_of_many_channels(
    kind, split, channels, streams, request, run, tmp_path
):
    root = request.getfixturevalue(kind)
    assert (
        run("data", "build", f"{kind}:{root}@{split}", tmp_path / "built", "--workers", 1)[0] == 0
    )
    media = probe(open_source(f"tfds:{tmp_path}/built")[0].media)
    assert (media.audio_channels, media.video_streams) == (channels, streams)
