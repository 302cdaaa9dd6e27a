import shutil

import numpy as np
import pytest
from PIL import Image

from avssl.data.inspect import inspect
from avssl.data.open import open_source
from avssl.data.pictures import FFT_SAMPLES, spectrogram
from avssl.data.verify import verify
from avssl.errors import UsageError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A few clips of a world as files, some of them damaged."""
    root = tmp_path_factory.mktemp("clips")
    world = open_source("world:tiny@test")
    for index in range(4):
        path = root / f"class{index % 2}" / f"{index}.mp4"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(world[index].media)
    media = world[0].media
    (root / "class0" / "cut.mp4").write_bytes(media[: len(media) * 2 // 3])
    (root / "class1" / "\x1b]words.mp4").write_text("words")
    return root


def test_verify_lists_what_is_bad(folder):
    bad = verify(f"folder:{folder}", workers=2)
    assert [key for key, _ in bad] == ["class0/cut.mp4", "class1/\x1b]words.mp4"]
    assert all(reason and str(folder) not in reason for _, reason in bad)


def test_verify_finds_nothing_in_a_good_store():
    assert verify("world:tiny@test[:3]") == []


def test_verify_names_the_shard_and_record_of_a_flipped_bit(tmp_path):
    world = open_source("world:tiny@test")
    store = shutil.copytree(world.root, tmp_path / "store")
    shard = next(store.glob("*array_record*"))
    content = bytearray(shard.read_bytes())
    middle = content.find(world[7].media) + len(world[7].media) // 2
    content[middle] ^= 1
    shard.write_bytes(content)
    assert verify(f"tfds:{store}") == [(world.key(7), f"record 7 of shard {shard.name} is damaged")]


def test_verify_knows_parts_that_do_not_exist(folder):
    (folder / "list.csv").write_text("path,start,end\nclass0/0.mp4,0,1\nclass0/0.mp4,90,91\n")
    bad = verify(f"manifest:{folder}/list.csv")
    (folder / "list.csv").unlink()
    assert bad == [("class0/0.mp4#t=90,91", "starts at 90 s, but its file ends at 1.5 s")]


def test_inspect_writes_two_pictures_and_a_table(folder, tmp_path):
    seen = inspect(f"folder:{folder}", str(tmp_path / "look"))
    rows = [line.split("  ", 1) for line in seen.table.splitlines()]
    table = {name: value.strip() for name, value in rows}
    assert table["records"] == "6"
    assert table["classes"] == "2: class0 3, class1 3"
    assert table["modalities of the 4 opened"] == "both 4, video only 0, audio only 0"
    assert table["seconds"] == "1.5"
    assert table["width x height"] == "48x48 (4)"
    assert table["audio"] == "16000 Hz x 2 (4)"
    assert [value.split(":")[0].strip() for name, value in rows if name == "bad"] == [
        "class0/cut.mp4", "class1/\\x1b]words.mp4",
    ]  # fmt: skip
    sheet = np.asarray(Image.open(seen.contact_sheet))
    sound = np.asarray(Image.open(seen.spectrogram))
    assert sheet.shape == sound.shape
    # Four of six places hold a picture, and no picture is of one colour.
    for picture in (sheet, sound):
        rows_of_clips = np.array_split(picture, 3)
        assert [part.std() > 10 for part in rows_of_clips] == [True] * 3


def test_inspect_knows_the_modalities_of_a_store(tmp_path):
    seen = inspect("world:tiny@test", str(tmp_path), num=2)
    assert "modalities of all  both 16, video only 0, audio only 0" in seen.table


def test_inspect_complains(tmp_path):
    with pytest.raises(UsageError, match="--num is 0"):
        inspect("world:tiny@test", str(tmp_path), num=0)
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="is not a folder"):
        inspect("world:tiny@test", str(tmp_path / "file"), num=1)


def test_spectrogram_shows_a_tone_at_its_pitch():
    rate, hertz = 16000, 3000
    wave = 20000 * np.sin(2 * np.pi * hertz * np.arange(rate) / rate)
    picture = spectrogram(wave.astype(np.int16)).sum(axis=2)
    bins = FFT_SAMPLES // 2 + 1
    brightest = bins - 1 - picture.mean(axis=1).argmax()
    assert brightest == round(hertz / rate * FFT_SAMPLES)
    silence = spectrogram(np.zeros(rate, np.int16))
    assert np.isfinite(silence).all()
