"""UCF101, ActivityNet, Kinetics, HMDB51."""

import json

import numpy as np
import pytest

from avssl.data.sources.ucf101 import SILENT
from avssl.errors import UsageError
from tests.data.published.trees import classes, decoded, keys, opened, plant, rows, video
from tests.media.make_media import frame_numbers

# Of UCF101's classes these have sound but for the second.
CLASS_LIST = rows("1 Typing", "2 YoYo", "3 Archery")
TRAIN = rows(
    "Typing/v_Typing_g08_c01.avi 1", "YoYo/v_YoYo_g08_c01.avi 2", "Archery/v_Archery_g08_c01.avi 3"
)
TEST = rows("Archery/v_Archery_g01_c01.avi", "YoYo/v_YoYo_g01_c01.avi")


@pytest.fixture
def ucf101(tmp_path):
    return plant(
        tmp_path,
        {
            "ucfTrainTestlist/classInd.txt": CLASS_LIST,
            "ucfTrainTestlist/trainlist01.txt": TRAIN.replace("\n", "\r\n"),
            "ucfTrainTestlist/testlist01.txt": TEST,
            "UCF-101/Typing/v_Typing_g08_c01.avi": video(1),
            "UCF-101/YoYo/v_YoYo_g08_c01.mp4": video(2),
            "UCF-101/YoYo/v_YoYo_g01_c01.avi": video(4),
            "UCF-101/Archery/v_Archery_g01_c01.avi": video(5),
        },
    )


def test_ucf101(ucf101):
    train, test = (opened("ucf101", ucf101, f"{part}list01") for part in ("train", "test"))
    assert keys(train) == ["Typing/v_Typing_g08_c01.avi", "YoYo/v_YoYo_g08_c01.avi"]
    assert keys(test) == ["Archery/v_Archery_g01_c01.avi", "YoYo/v_YoYo_g01_c01.avi"]
    assert train.label_names == test.label_names == ("Typing", "YoYo", "Archery")
    np.testing.assert_array_equal(train.labels(), [0, 1])
    np.testing.assert_array_equal(test.labels(), [2, 1])
    assert train.labels().dtype == np.int32
    assert train.skipped == (("Archery/v_Archery_g08_c01.avi", "not on disk"),)
    assert frame_numbers(decoded(train[1]).video) == [2, 2]


def test_ucf51_has_the_classes_with_sound_in_the_order_of_their_names(ucf101):
    source = opened("ucf51", ucf101, "testlist01")
    assert keys(source) == ["Archery/v_Archery_g01_c01.avi"]
    assert source.label_names == ("Archery", "Typing")
    assert source.labels().tolist() == [0]
    assert len(SILENT) == 101 - 51


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("trainlist01.txt", "Typing/v_Typing_g08_c01.avi 2\n", "trainlist01.txt:1: .* another number"),
        ("trainlist01.txt", "Typing/v_Typing_g08_c01.avi 1\nTyp\n", "trainlist01.txt:2: 'Typ' is no video"),
        ("trainlist01.txt", "Rowing/v_Rowing_g08_c01.avi 1\n", "no video of a class"),
        ("trainlist01.txt", "", "is empty"),
        ("classInd.txt", "1 Typing\n3 YoYo\n", "classInd.txt:2: .* is not number 2"),
    ],
)  # fmt: skip
def test_torn_lists_of_ucf101(name, content, message, ucf101):
    plant(ucf101 / "ucfTrainTestlist", {name: content})
    with pytest.raises(UsageError, match=message):
        opened("ucf101", ucf101, "trainlist01")


def test_splits_of_ucf101(ucf101):
    with pytest.raises(
        UsageError, match="there is no split 'train'; write @ and one of trainlist01"
    ):
        opened("ucf101", ucf101, "train")
    with pytest.raises(UsageError, match="no split is named"):
        opened("ucf101", ucf101)
    with pytest.raises(UsageError, match=r"neither 'ucfTrainTestlist/trainlist02\.txt' nor"):
        opened("ucf101", ucf101, "trainlist02")
    assert classes(opened("ucf101", ucf101, "testlist01")) == ["Archery", "YoYo"]


@pytest.fixture
def hmdb51(tmp_path):
    lists = "testTrainMulti_7030_splits"
    return plant(
        tmp_path,
        {
            f"{lists}/wave_test_split1.txt": rows("(Rad)a_wave_u_0.avi 1 ", "b_wave_u_1.avi 2 "),
            f"{lists}/brush_hair_test_split1.txt": rows("A&b_0.avi 2", "gone.avi 1", "c_0.avi 0"),
            f"{lists}/wave_test_split2.txt": rows("b_wave_u_1.avi 1"),
            "videos/wave/(Rad)a_wave_u_0.avi": video(1),
            "videos/wave/b_wave_u_1.mp4": video(2),
            "brush_hair/A&b_0.avi": video(3),
            "brush_hair/c_0.avi": video(3),
        },
    )


def test_hmdb51(hmdb51):
    train, test = (opened("hmdb51", hmdb51, split) for split in ("train1", "test1"))
    assert keys(train) == ["wave/(Rad)a_wave_u_0.avi"]
    assert train.skipped == (("brush_hair/gone.avi", "not on disk"),)
    assert keys(test) == ["brush_hair/A&b_0.avi", "wave/b_wave_u_1.avi"]
    assert train.label_names == test.label_names == ("brush_hair", "wave")
    assert test.labels().tolist() == [0, 1]
    assert frame_numbers(decoded(test[1]).video) == [2, 2]
    assert keys(opened("hmdb51", hmdb51, "train2")) == ["wave/b_wave_u_1.avi"]


def test_torn_hmdb51(hmdb51):
    with pytest.raises(UsageError, match=r"has no lists CLASS_test_split3\.txt"):
        opened("hmdb51", hmdb51, "test3")
    plant(hmdb51, {"testTrainMulti_7030_splits/wave_test_split1.txt": "a.avi 1\nb.avi\n"})
    with pytest.raises(UsageError, match=r"wave_test_split1\.txt:2: 'b\.avi' is no video with"):
        opened("hmdb51", hmdb51, "train1")


DATABASE = {
    "aaaaaaaaaaa": {
        "subset": "training",
        "duration": 1.0,
        "annotations": [
            {"segment": [0.25, 0.75], "label": "Zumba"},
            {"segment": [0.5, 1], "label": "Archery"},
            {"segment": [0.5, 0.5], "label": "Archery"},
        ],
    },
    "-bbbbbbbbbb": {
        "subset": "training",
        "annotations": [{"segment": [0, 9], "label": "Zumba"}],
    },
    "ccccccccccc": {
        "subset": "validation",
        "annotations": [{"segment": [0, 1], "label": "Kayaking"}],
    },
    "ddddddddddd": {"subset": "testing", "annotations": []},
}


def with_annotation(**changed) -> str:
    annotation = {"segment": [0, 1], "label": "Zumba"} | changed
    video = {"subset": "training", "annotations": [annotation]}
    return json.dumps({"database": {"aaa": video}})


@pytest.fixture
def activitynet(tmp_path):
    return plant(
        tmp_path,
        {
            "activity_net.v1-3.min.json": json.dumps({"database": DATABASE, "version": "1.3"}),
            "v1-2/train/v_aaaaaaaaaaa.mp4": video(1),
            "v1-3/train_val/v_ccccccccccc.mkv": video(2),
            "videos/v_ddddddddddd.webm": video(3),
        },
    )


def test_activitynet(activitynet):
    train = opened("activitynet", activitynet, "training")
    assert keys(train) == ["v_aaaaaaaaaaa#t=0.25,0.75", "v_aaaaaaaaaaa#t=0.5,1"]
    assert classes(train) == ["Zumba", "Archery"]
    assert (train[0].start_seconds, train[0].end_seconds) == (0.25, 0.75)
    assert train.skipped == (
        ("v_aaaaaaaaaaa#t=0.5,0.5", "its segment ends where it begins or before"),
        ("v_-bbbbbbbbbb#t=0,9", "not on disk"),
    )
    assert frame_numbers(decoded(train[1], 0.25).video) == [1, 1]
    validation, testing = (opened("activitynet", activitynet, s) for s in ("validation", "testing"))
    assert classes(validation) == ["Kayaking"]
    assert train.label_names == testing.label_names == ("Archery", "Kayaking", "Zumba")
    assert keys(testing) == ["v_ddddddddddd"]
    assert testing.labels().tolist() == [-1]
    assert testing[0].end_seconds is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (json.dumps({"database": DATABASE})[:-7], r"v1-3\.min\.json' is no JSON .* torn"),
        (json.dumps({"taxonomy": []}), "no 'database'"),
        (json.dumps({"database": {"a": {"subset": "training"}}}), "json: a: no subset and"),
        (
            json.dumps({"database": {"a": {"subset": "training", "annotations": [{"segment": [1]}]}}}),
            "json: a: no subset and annotations",
        ),
        (json.dumps({"database": {"../a": {"subset": "training", "annotations": []}}}), "no file below"),
        (with_annotation(label="\ud800"), r"aaa: label '\\ud800' holds half a character"),
        (with_annotation(label=7), "aaa: label is no text"),
        (with_annotation(segment=[0, 10**400]), "aaa: end '1000+' is no number from 0 on"),
        (with_annotation(segment=[0, [1]]), "aaa: end 'a list' is no number"),
        (json.dumps({"database": {"\udfff": {}}}), "json: .udfff: the name '.udfff' holds half"),
    ],
)  # fmt: skip
def test_torn_activitynet(content, message, activitynet):
    plant(activitynet, {"activity_net.v1-3.min.json": content})
    with pytest.raises(UsageError, match=message):
        opened("activitynet", activitynet, "training")


KINETICS = rows(
    "label,youtube_id,time_start,time_end,split,is_cc",
    '"air drumming",_dbcJuKJQNs,40,50,val,0',
    "abseiling,-3B32lodo2M,59,69,val,0",
    "abseiling,replacement,0,10,val,0",
    "zumba,goneaaaaaaa,1,11,val,0",
)


@pytest.fixture
def kinetics(tmp_path):
    return plant(
        tmp_path,
        {
            "annotations/val.csv": KINETICS,
            "annotations/test.csv": rows("youtube_id,time_start,time_end,split", "testaaaaaaa,3,13,test"),
            "kinetics-600_train.csv": KINETICS.replace("val", "train"),
            "val/air_drumming/_dbcJuKJQNs_000040_000050.mp4": video(1),
            "train/air drumming/_dbcJuKJQNs_000040_000050.webm": video(5),
            "val/-3B32lodo2M_000059_000069.mp4": video(2),
            "val/replacement_000000_000010.mp4": b"damaged",
            "replacement/replacement_for_corrupted_k400/replacement.mp4": video(3),
            "test/testaaaaaaa_000003_000013.mp4": video(4),
        },
    )  # fmt: skip


def test_kinetics(kinetics):
    source = opened("kinetics", kinetics, "val")
    assert keys(source) == [
        "_dbcJuKJQNs_000040_000050", "-3B32lodo2M_000059_000069", "replacement_000000_000010",
    ]  # fmt: skip
    assert source.label_names == ("abseiling", "air drumming", "zumba")
    assert classes(source) == ["air drumming", "abseiling", "abseiling"]
    assert source.skipped == (("goneaaaaaaa_000001_000011", "not on disk"),)
    assert frame_numbers(decoded(source[2]).video) == [3, 3]
    # Clips are cut already.
    assert (source[0].start_seconds, source[0].end_seconds) == (0.0, None)
    train, test = (opened("kinetics", kinetics, split) for split in ("train", "test"))
    # What was replaced is found for any split.
    assert classes(train) == ["air drumming", "abseiling"]
    assert test.label_names == ()
    assert test.labels().tolist() == [-1]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("time_end", "until", r"val\.csv:1: there is no column 'time_end'"),
        (",1,11,val,0", ",1,1", r"val\.csv:5: 4 cells where 6"),
        ("59,69", "soon,69", r"val\.csv:3: time_start 'soon' is no number"),
        ("zumba", "..", r"val\.csv:5: '\.\.' names no file below"),
    ],
)
def test_torn_kinetics(old, new, message, kinetics):
    plant(kinetics, {"annotations/val.csv": KINETICS.replace(old, new)})
    with pytest.raises(UsageError, match=message):
        opened("kinetics", kinetics, "val")
