"""Flickr-SoundNet and VGG-SS: pairs of a picture and a sound, and what sounds where."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from avssl.data.build import build
from avssl.data.open import open_source
from avssl.data.record import truth_of
from avssl.data.truth import box_consensus, sounding_boxes
from avssl.errors import UsageError
from avssl.evaluate.localization import localization
from avssl.evaluate.places import common_consensus
from tests.data.published.trees import (
    AUDIO_RATE,
    CLICK_SECONDS,
    classes,
    decoded,
    keys,
    opened,
    plant,
    rows,
    sound,
    video,
)
from tests.media.make_media import click_times, frame_numbers, numbered_frames


def picture(number: int, kind: str = "JPEG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(numbered_frames([number])[0]).save(buffer, kind)
    return buffer.getvalue()


def annotation(*boxes: tuple[int, ...]) -> str:
    inner = "".join(
        f"<person><bbox><who>a{n}</who><x0>{b[0]}</x0><y0>{b[1]}</y0><x1>{b[2]}</x1><y1>{b[3]}</y1>"
        "</bbox></person>"
        for n, b in enumerate(boxes)
    )
    return f"<annotation>{inner}</annotation>"


THREE_BOXES = annotation((0, 64, 128, 256), (0, 64, 128, 256), (128, 0, 256, 64))


@pytest.fixture
def flickr(tmp_path):
    return plant(
        tmp_path,
        {
            "flickr_test.csv": rows("10000130166,202", "10007936344,0", "10008553263,309"),
            "metadata/flickr_10k.txt": rows("9435378771", "10007936344"),
            "test_list.txt": rows("10007936344.png"),
            "Annotations/10000130166.xml": THREE_BOXES,
            "Annotations/10007936344.xml": annotation((0, 0, 300, 128)),
            "frames/10000130166.jpg": picture(9),
            "audio/10000130166.wav": sound(),
            "Data/10007936344.mp4/10007936344.png": picture(11, "PNG"),
            "Data/10007936344.mp4/10007936344.wav": sound(),
            "frames/9435378771.jpg": picture(13),
            "audio/9435378771.wav": sound(),
            # Without a sound a picture is no pair.
            "frames/10008553263.jpg": picture(12),
        },
    )


def test_flickr_soundnet(flickr):
    source = opened("flickr_soundnet", flickr, "flickr_test")
    assert keys(source) == ["10000130166", "10007936344"]
    assert source.skipped == (("10008553263", "not on disk"),)
    assert source.label_names == ()
    assert source.labels().tolist() == [-1, -1]
    for record, number in zip((source[0], source[1]), (9, 11), strict=True):
        clip = decoded(record)
        assert frame_numbers(clip.video) == [number, number]
        assert click_times(clip.audio[:, 0], AUDIO_RATE) == pytest.approx([CLICK_SECONDS], abs=1e-3)
    truth = truth_of(source, 0)
    assert truth == source[0].truth
    assert box_consensus(truth) == 2
    expected = [[0, 0.25, 0.5, 1], [0, 0.25, 0.5, 1], [0.5, 0, 1, 0.25]]
    np.testing.assert_allclose(sounding_boxes(truth, [0.3, 0.8]), expected)
    np.testing.assert_allclose(sounding_boxes(truth_of(source, 1), [0.0]), [[0, 0, 1, 0.5]])


def test_what_two_annotators_agree_on_scores_as_published(flickr):
    boxes = [sounding_boxes(truth_of(opened("flickr_soundnet", flickr, "flickr_test"), 0), [0.0])]
    heat = np.zeros((8, 8))
    heat[2:, :4] = 1
    agreed = localization([heat], boxes, consensus=2)
    # 24 of 64 fields wholly, 8 by half.
    assert agreed["mean_ciou"] == pytest.approx(24 / (24 + 4), abs=0.02)


def test_the_protocol_takes_the_consensus_of_the_source(flickr, vggss):
    annotated = (
        opened("flickr_soundnet", flickr, "flickr_test"),
        opened("vggss", vggss, "vggss_test"),
    )
    truths = [[truth_of(source, index) for index in range(2)] for source in annotated]
    assert [common_consensus(each) for each in truths] == [2, 1]
    with pytest.raises(UsageError, match="have no common score"):
        common_consensus(truths[0] + truths[1])


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        (None, ["10000130166", "10007936344"]),
        ("flickr_10k", ["9435378771", "10007936344"]),
        ("test_list.txt", ["10007936344"]),
    ],
)
def test_lists_of_flickr_soundnet(split, expected, flickr):
    source = opened("flickr_soundnet", flickr, split)
    assert keys(source) == expected
    annotated = ["sounding_boxes" in truth_of(source, index) for index in range(len(source))]
    assert annotated == [name != "9435378771" for name in expected]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (THREE_BOXES[:-20], r"10000130166\.xml' is no XML .* torn"),
        (THREE_BOXES.replace("<y1>256</y1>", ""), "a bbox of 3 numbers where 4 belong"),
        (THREE_BOXES.replace("256", "-"), "bbox '-' is no number"),
        (THREE_BOXES.replace("256", "nan"), "bbox 'nan' is no number"),
        (THREE_BOXES.replace("<x0>", "<!-- \xe9 --><x0>", 1).encode("latin-1"), "xml:1: no UTF-8"),
    ],
)
def test_torn_annotations_of_flickr_soundnet(content, message, flickr):
    plant(flickr, {"Annotations/10000130166.xml": content})
    with pytest.raises(UsageError, match=message):
        opened("flickr_soundnet", flickr, "flickr_test")


def test_flickr_soundnet_without_annotations_needs_a_list(tmp_path):
    plant(tmp_path, {"frames/1.jpg": picture(1), "audio/1.wav": sound(), "all.txt": "1\n"})
    with pytest.raises(UsageError, match="has no annotations"):
        opened("flickr_soundnet", tmp_path)
    source = opened("flickr_soundnet", tmp_path, "all")
    assert len(source) == 1
    with pytest.raises(UsageError, match="where each object is"):
        sounding_boxes(truth_of(source, 0), [0.0])


ENTRIES = [
    {"file": "-A_000030", "class": "tap dancing", "bbox": [[-0.1, 0.25, 0.5, 1.2], [0.5, 0, 1, 0.5]]},
    {"file": "B_b_000001", "class": "arc welding", "bbox": [[0, 0, 1, 0.5]]},
    {"file": "C_000002", "class": "people eating", "bbox": [[0, 0, 1, 1]]},
]  # fmt: skip


def vggss_entry(**changed) -> str:
    return json.dumps([ENTRIES[0] | changed])


@pytest.fixture
def vggss(tmp_path):
    return plant(
        tmp_path,
        {
            "metadata/vggss.json": json.dumps(ENTRIES),
            "metadata/vggss_test.csv": rows("-A_000030", "B_b_000001", "C_000002"),
            "metadata/vggss_unheard_test.csv": rows("B_b_000001"),
            "frames/-A_000030.jpg": picture(3),
            "audio/-A_000030.wav": sound(),
            "video/B_b_000001.mp4": video(4),
        },
    )


def test_vggss(vggss):
    source = opened("vggss", vggss, "vggss_test")
    assert keys(source) == ["-A_000030", "B_b_000001"]
    assert source.label_names == ("arc welding", "people eating", "tap dancing")
    assert classes(source) == ["tap dancing", "arc welding"]
    assert source.skipped == (("C_000002", "not on disk"),)
    boxes = sounding_boxes(truth_of(source, 0), [0.0])
    np.testing.assert_allclose(boxes, [[0, 0.25, 0.5, 1], [0.5, 0, 1, 0.5]])
    assert box_consensus(truth_of(source, 0)) == 1
    assert [frame_numbers(decoded(source[i]).video)[0] for i in (0, 1)] == [3, 4]
    assert keys(opened("vggss", vggss, "vggss_unheard_test")) == ["B_b_000001"]
    assert keys(opened("vggss", vggss)) == keys(source)


def test_is_built_like_any_source_and_keeps_its_boxes(vggss, tmp_path):
    report = build(f"vggss:{vggss}@vggss_test", str(tmp_path / "out"), short_side=16)
    assert report.kept == 2
    assert report.dropped == (("C_000002", "not on disk"),)
    stored = open_source(f"tfds:{tmp_path}/out")
    assert classes(stored) == ["tap dancing", "arc welding"]
    assert sounding_boxes(truth_of(stored, 1), [0.0]).tolist() == [[0, 0, 1, 0.5]]
    mix = open_source(f"vggss:{vggss}@vggss_unheard_test+tfds:{tmp_path}/out")
    assert [len(sounding_boxes(truth_of(mix, index), [0.0])) for index in range(3)] == [1, 2, 1]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("vggss.json", json.dumps(ENTRIES)[:-9], "no JSON .* torn"),
        ("vggss.json", "{}", "is no list of clips"),
        ("vggss.json", json.dumps([{"file": "a", "class": "b", "bbox": [[0, 0, 1]]}]), "entry 0: not"),
        ("vggss.json", json.dumps([{"file": "a", "bbox": []}]), "entry 0: not a file, a class"),
        ("vggss.json", vggss_entry(bbox=[[0, 0, float("nan"), 1]]), "entry 0: bbox 'nan' is no number"),
        ("vggss.json", vggss_entry(bbox=[[0, 0, 10**400, 1]]), "entry 0: bbox '1000+' is no number$"),
        ("vggss.json", vggss_entry(file="\ud800"), "entry 0: file '.ud800' holds half a character"),
        ("vggss_test.csv", "-A_0000\n", r"vggss_test\.csv:1: '-A_0000' has no boxes in vggss\.json"),
    ],
)  # fmt: skip
def test_torn_annotations_of_vggss(name, content, message, vggss):
    plant(vggss, {f"metadata/{name}": content})
    with pytest.raises(UsageError, match=message):
        opened("vggss", vggss, "vggss_test")
