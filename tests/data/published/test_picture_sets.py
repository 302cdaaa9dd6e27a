"""Pictures: VOC 2007, Places365, SUN397, folders of classes and manifests; each a video of one frame."""

import io

import numpy as np
import pytest
from PIL import Image

from avssl.data.build import build
from avssl.data.needs import modalities_there
from avssl.data.open import open_source
from avssl.data.pipeline import evaluation_batches
from avssl.data.record import tags_of
from avssl.data.truth import objects_at
from avssl.data.views import AudioView, VideoView
from avssl.errors import UsageError
from avssl.media.decode import decode_video
from avssl.media.errors import MediaError
from avssl.media.probe import probe
from avssl.media.still import as_video
from avssl.media.transcode import transcode
from tests.data.published.trees import classes, keys, opened, plant, rows, sets_of, video
from tests.media.make_media import frame_numbers, numbered_frames


def picture(number: int, kind: str = "JPEG", mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(numbered_frames([number])[0]).convert(mode).save(buffer, kind)
    return buffer.getvalue()


def shown(media, num_frames: int = 3) -> list[int]:
    frames = decode_video(media, start_seconds=0.1, num_frames=num_frames, fps=8, short_side=48)
    return frame_numbers(frames)


@pytest.mark.parametrize(("kind", "mode"), [("JPEG", "RGB"), ("JPEG", "L"), ("PNG", "RGBA")])
def test_a_picture_is_a_video_of_one_frame(kind, mode):
    media = as_video(picture(6, kind, mode))
    facts = probe(media)
    assert (facts.width, facts.height, facts.has_audio) == (64, 48, False)
    assert facts.duration_seconds == 1.0
    assert shown(media) == [6, 6, 6]
    assert shown(transcode(media, short_side=48)) == [6, 6, 6]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (video(), "neither JPEG nor PNG"), (b"", "is empty"), (picture(1)[:60], "damaged"),
        (b"#EXTM3U\n/etc/passwd\n", "neither JPEG nor PNG"),
    ],
)  # fmt: skip
def test_what_is_no_picture(content, said):
    with pytest.raises(MediaError, match=said):
        as_video(content)


def test_views_of_any_length_show_the_picture(tmp_path):
    root = plant(tmp_path, {"a/1.jpg": picture(3), "b/2.png": picture(9, "PNG")})
    views = {
        "long": VideoView(frames=8, fps=2.0, size=48),
        "one": VideoView(frames=1, fps=1.0, size=48),
        "sound": AudioView(seconds=0.5, rate=8000),
    }
    source = open_source(f"images:{root}")
    with evaluation_batches(
        source, {name: view.evaluation() for name, view in views.items()}, batch_size=2
    ) as batches:
        [batch] = list(batches)
    assert batch["mask"].all()
    assert not batch["present"]["sound"].any()
    for row, number in enumerate((3, 9)):
        first = batch["views"]["one"][row].reshape(-1, 48, 48, 3)[0]
        for frame in batch["views"]["long"][row]:
            np.testing.assert_array_equal(frame, first)
        assert shown(source[row].media) == [number] * 3


def test_a_folder_of_pictures(tmp_path):
    root = plant(
        tmp_path / "set",
        {
            "train/cat/1.jpg": picture(1), "train/dog/2.PNG": picture(2, "PNG"),
            "train/dog/notes.txt": "words", "train/dog/film.mp4": video(),
        },
    )  # fmt: skip
    source = open_source(f"images:{root}@train")
    assert keys(source) == ["cat/1.jpg", "dog/2.PNG"]
    assert classes(source) == ["cat", "dog"]
    assert {reason for _, reason in source.skipped} == {"no JPEG or PNG by its name"}
    assert modalities_there(source, np.arange(2)) == {"video"}
    assert source[1].has_audio is False
    with pytest.raises(UsageError, match="holds no pictures"):
        open_source(f"images:{plant(tmp_path / 'none', {'a.mp4': video()})}")
    # To a source of videos they are what lies beside these, as ever.
    assert keys(open_source(f"folder:{root}@train")) == ["dog/film.mp4"]


def test_a_manifest_may_name_pictures(tmp_path):
    root = plant(tmp_path, {"1.jpg": picture(7), "2.mp4": video(4)})
    (root / "both.csv").write_text("path,label\n1.jpg,a\n2.mp4,b\n")
    (root / "pictures.csv").write_text("path,label\n1.jpg,a\n")
    both = open_source(f"manifest:{root}/both.csv")
    assert [shown(both[index].media) for index in range(2)] == [[7] * 3, [4] * 3]
    assert modalities_there(both, np.arange(2)) == {"video", "audio"}
    pictures = open_source(f"manifest:{root}/pictures.csv")
    assert modalities_there(pictures, np.arange(1)) == {"video"}


@pytest.fixture
def voc(tmp_path):
    lists = {
        "cat": ("000001  1", "000002 -1", "000003  0", "000004 -1"),
        "bird": ("000001  1", "000002 -1", "000003  1", "000004 -1"),
    }
    kit = tmp_path / "VOCdevkit" / "VOC2007"
    main = {f"ImageSets/Main/{name}_trainval.txt": rows(*said) for name, said in lists.items()}
    plant(kit, {**main, "ImageSets/Main/trainval.txt": rows("000001", "000002")})
    return plant(kit, {f"JPEGImages/00000{n}.jpg": picture(n) for n in (1, 2, 3)})


def test_voc2007(voc):
    for root in (voc, voc.parent, voc.parent.parent):
        source = opened("voc2007", root, "trainval")
        assert source.label_names == ("bird", "cat")
        assert keys(source) == ["000001", "000002", "000003"]
        assert sets_of(source) == [{"bird", "cat"}, set(), {"bird"}]
    assert source.skipped == (("000004", "not on disk"),)
    sets, known = tags_of(source, np.array([2, 0]))
    assert known.tolist() == [[True, False], [True, True]]
    assert sets.tolist() == [[True, False], [True, True]]
    assert shown(source[2].media) == [3, 3, 3]


def test_lists_of_voc2007_that_are_torn(voc):
    file = voc / "ImageSets" / "Main" / "cat_trainval.txt"
    file.write_text("000001  1\n000002 -1\n")
    with pytest.raises(UsageError, match="'000003' is in one alone"):
        opened("voc2007", voc, "trainval")
    file.write_text("000001  2\n")
    with pytest.raises(UsageError, match=r"cat_trainval\.txt:1: '000001  2' is no picture"):
        opened("voc2007", voc, "trainval")
    with pytest.raises(UsageError, match=r"no lists CLASS_test\.txt"):
        opened("voc2007", voc, "test")
    with pytest.raises(UsageError, match="has no ImageSets/Main"):
        opened("voc2007", voc / "JPEGImages", "test")


def element(name, *inside):
    return f"<{name}>{''.join(map(str, inside))}</{name}>"


def annotation(*objects):
    """(class, corners in pixels, whether difficult) of each object; people's parts have boxes too."""
    corners = ("xmin", "ymin", "xmax", "ymax")
    things = [
        element(
            "object", element("name", name), element("difficult", int(difficult)),
            element("part", element("name", "head"), element("bndbox")),
            element("bndbox", *map(element, corners, box)),
        )
        for name, box, difficult in objects
    ]  # fmt: skip
    size = element("size", element("width", 64), element("height", 48))
    return element("annotation", size, *things)


WHOLE, RIGHT_HALF = (1, 1, 64, 48), (33, 1, 64, 48)


@pytest.fixture
def annotated_voc(voc):
    said = (
        [("cat", RIGHT_HALF, False), ("bird", WHOLE, False), ("bird", (1, 1, 9, 9), True)],
        [],
        [("cat", (1, 1, 9, 9), True), ("bird", RIGHT_HALF, False)],
    )  # fmt: skip
    return plant(
        voc,
        {f"Annotations/00000{n}.xml": annotation(*each) for n, each in enumerate(said, 1)},
    )


def boxes_of(source):
    """By record: the class and the box of each object."""
    return [
        [
            (source.label_names[label], box)
            for label, box in zip(seen.labels.tolist(), seen.boxes.tolist(), strict=True)
        ]
        for seen in (objects_at(source[index].truth, 0.5) for index in range(len(source)))
    ]


def test_boxes_of_voc2007_without_the_difficult_ones(annotated_voc):
    source = opened("voc2007", annotated_voc, "trainval")
    right, whole = [0.5, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0]
    assert boxes_of(source) == [[("cat", right), ("bird", whole)], [], [("bird", right)]]
    assert sets_of(source) == [{"bird", "cat"}, set(), {"bird"}]
    assert source[2].truth["ignored"] == ["cat"]


def test_views_know_the_boxes_of_pictures(annotated_voc):
    source = opened("voc2007", annotated_voc, "trainval")
    view = VideoView(frames=1, fps=1.0, size=32, objects=4).evaluation()
    with evaluation_batches(source, {"picture": view}, batch_size=3) as batches:
        [batch] = list(batches)
    places = batch["geometry"]["picture"]
    assert places["classes"].tolist() == [[1, 0, -1, -1], [-1] * 4, [0, -1, -1, -1]]
    # The middle of the picture, as wide as it is high, to a pixel.
    right, whole = [0.5, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0]
    np.testing.assert_allclose(places["objects"][0, :2], [right, whole], atol=1 / 32)


def test_a_list_of_voc2007_of_one_class(annotated_voc):
    source = opened("voc2007", annotated_voc, "cat_trainval")
    assert (source.label_names, keys(source)) == (("cat",), ["000001"])
    assert boxes_of(source) == [[("cat", [0.5, 0.0, 1.0, 1.0])]]
    assert sets_of(source) == [{"cat"}]
    with pytest.raises(
        UsageError, match=r"unknown class .*'cad_trainval' 'cad'; did you mean 'cat'"
    ):
        opened("voc2007", annotated_voc, "cad_trainval")


def test_boxes_of_a_built_set_are_shares_of_its_smaller_pictures(annotated_voc, tmp_path):
    source = opened("voc2007", annotated_voc, "trainval")
    build(source.spec, str(tmp_path / "set"), short_side=24)
    built = open_source(f"tfds:{tmp_path}/set")
    assert probe(built[0].media).height == 24
    assert boxes_of(built) == boxes_of(source)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (annotation(("dog", WHOLE, False)), "has a box of 'dog', of which .* no list"),
        (annotation(("cat", (80, 1, 90, 9), False)), "is nowhere in a picture of 64 x 48"),
        (annotation(("cat", ("x", 1, 9, 9), False)), "xmin 'x' is no number"),
        (annotation(("", WHOLE, False)), "an object has no name"),
        ("<annotation></annotation>", "width '' is no number from 1 on"),
        ("<annotation>", "is no XML"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "defines entities"),
        (f"<a>{' ' * (1 << 20)}</a>", "is larger than any annotation"),
        (None, "is not there, as those of other pictures are"),
    ],
)
def test_annotations_of_voc2007_that_are_torn(annotated_voc, content, said):
    file = annotated_voc / "Annotations" / "000002.xml"
    file.unlink() if content is None else file.write_text(content)
    with pytest.raises(UsageError, match=rf"000002\.xml.*{said}"):
        opened("voc2007", annotated_voc, "trainval")


@pytest.fixture
def places(tmp_path):
    return plant(
        tmp_path,
        {
            "categories_places365.txt": rows("/a/airfield 0", "/a/apartment_building/outdoor 1"),
            "filelist_places365-standard/places365_train_standard.txt": rows(
                "/a/airfield/00000001.jpg 0", "/a/apartment_building/outdoor/00000001.jpg 1",
                "/a/airfield/00000002.jpg 0",
            ),
            "places365_val.txt": rows("Places365_val_00000001.jpg 1"),
            "data_256/a/airfield/00000001.jpg": picture(1),
            "data_256/a/apartment_building/outdoor/00000001.jpg": picture(2),
            "val_large/Places365_val_00000001.jpg": picture(3),
        },
    )  # fmt: skip


def test_places365(places):
    train, val = (opened("places365", places, split) for split in ("train_standard", "val"))
    assert classes(train) == ["airfield", "apartment_building/outdoor"]
    assert classes(val) == ["apartment_building/outdoor"]
    assert train.skipped == (("a/airfield/00000002.jpg", "not on disk"),)
    assert [shown(source[0].media)[0] for source in (train, val)] == [1, 3]


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("places365_val.txt", "Places365_val_00000001.jpg 2\n", "there is no class 2"),
        ("places365_val.txt", "Places365_val_00000001.jpg\n", "is no number"),
        ("places365_val.txt", "../../secret.jpg 1\n", "names no file below"),
        ("categories_places365.txt", "/a/airfield 1\n", "from 0 on"),
        ("categories_places365.txt", "/a/airfield 0\n/a/bar 0\n", "class 0 is there twice"),
    ],
)
def test_lists_of_places365_that_are_torn(places, file, content, said):
    (places / file).write_text(content)
    with pytest.raises(UsageError, match=said):
        opened("places365", places, "val")


@pytest.fixture
def sun397(tmp_path):
    return plant(
        tmp_path,
        {
            "Partitions/ClassName.txt": rows("/a/abbey", "/b/bar/outdoor"),
            "Partitions/Testing_02.txt": rows("/b/bar/outdoor/sun_b.jpg", "/a/abbey/sun_gone.jpg"),
            "Partitions/Training_02.txt": rows("/c/cave/sun_c.jpg"),
            "Partitions/Training_01.txt": rows("/b/bar/outdoor/sun_b.jpg"),
            "SUN397/b/bar/outdoor/sun_b.jpg": picture(8),
        },
    )


def test_sun397(sun397):
    source = opened("sun397", sun397, "Testing_02")
    assert source.label_names == ("abbey", "bar/outdoor")
    assert classes(source) == ["bar/outdoor"]
    assert source.skipped == (("a/abbey/sun_gone.jpg", "not on disk"),)
    assert shown(source[0].media) == [8] * 3
    with pytest.raises(UsageError, match=r"Training_02\.txt:1: .* is no picture of a class"):
        opened("sun397", sun397, "Training_02")
    with pytest.raises(UsageError, match="there is no split 'Training_11'"):
        opened("sun397", sun397, "Training_11")
