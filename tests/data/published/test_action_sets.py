"""UCF101, ActivityNet, Kinetics, HMDB51."""

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
    assert source.num_listed == 1
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
