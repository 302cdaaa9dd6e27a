import pytest

from avssl.data.spec import Part, parse
from avssl.errors import UsageError


@pytest.mark.parametrize(
    ("spec", "parts"),
    [
        ("world:quickstart", [Part("world", "quickstart")]),
        ("world:quickstart@test", [Part("world", "quickstart", "test")]),
        ("folder:/data/a clip", [Part("folder", "/data/a clip")]),
        ("folder:/data/me@home/clips", [Part("folder", "/data/me@home/clips")]),
        ("tfds:gs://b/set@train[:90%]", [Part("tfds", "gs://b/set", "train[:90%]")]),
        ("tfds:/d@train+test", [Part("tfds", "/d", "train+test")]),
        ("folder:/a+b*c", [Part("folder", "/a+b*c")]),
        (
            "world:a@train*3+folder:/b+c*0.5 + manifest:x.csv",
            [
                Part("world", "a", "train", 3.0),
                Part("folder", "/b+c", None, 0.5),
                Part("manifest", "x.csv"),
            ],
        ),
    ],
)
def test_parse(spec, parts):
    assert list(parse(spec)) == parts


def test_part_writes_itself_without_its_weight():
    assert parse("tfds:/d@train[:90%]*3")[0].spec == "tfds:/d@train[:90%]"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("", "is empty"),
        ("/data/videos", "does not say its kind"),
        ("wrold:a", "did you mean 'world'"),
        ("world:a+fodler:/b", "did you mean 'folder'"),
        ("folder:", "names nothing"),
        ("world:a@", "ends in '@'"),
        ("world:a*0+world:b", "above 0"),
        ("world:a*-1+world:b", "above 0"),
        ("world:a*1.2.3", "above 0"),
    ],
)
def test_bad_spec_is_one_sentence(spec, message):
    with pytest.raises(UsageError, match=message.replace("?", r"\?")) as caught:
        parse(spec)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2
