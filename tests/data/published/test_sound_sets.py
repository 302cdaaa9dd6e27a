"""VGGSound, AudioSet, ESC-50 and DCASE."""

import numpy as np
import pytest

from avssl.data.open import open_source
from avssl.errors import UsageError
from tests.data.published.trees import (
    classes,
    decoded,
    keys,
    opened,
    plant,
    rows,
    sets_of,
    sound,
    video,
)
from tests.media.make_media import frame_numbers


@pytest.fixture
def vggsound(tmp_path):
    lines = rows(
        "# YouTube ID, start seconds, label, train/test split.",
        '-0_abcdefgh,30,"bee, wasp, etc. buzzing",test',
        "_zyxwvutsrq,7,tap dancing,train",
        "AAAAAAAAAAA,1353,arc welding,train",
    )
    return plant(
        tmp_path,
        {
            "data/vggsound.csv": lines,
            "video/-0_abcdefgh_000030.mp4": video(3),
            "video/_zyxwvutsrq_000007.webm": video(4),
            "audio/AAAAAAAAAAA_001353.wav": sound(),
        },
    )


def test_a_list_of_vggsound(vggsound):
    plant(vggsound, {"metadata/vggss_10k.txt": rows("AAAAAAAAAAA_001353", "-0_abcdefgh_000030")})
    source = opened("vggsound", vggsound, "vggss_10k")
    assert keys(source) == ["AAAAAAAAAAA_001353", "-0_abcdefgh_000030"]
    assert classes(source) == ["arc welding", "bee, wasp, etc. buzzing"]
    plant(vggsound, {"metadata/vggss_10k.txt": rows("AAAAAAAAAAA_0013")})
    with pytest.raises(UsageError, match=r"vggss_10k\.txt:1: 'AAAAAAAAAAA_0013' is no clip"):
        opened("vggsound", vggsound, "vggss_10k")


def test_vggsound(vggsound):
    train, test = (opened("vggsound", vggsound, part) for part in ("train", "test"))
    assert keys(train) == ["_zyxwvutsrq_000007", "AAAAAAAAAAA_001353"]
    assert keys(test) == ["-0_abcdefgh_000030"]
    assert train.label_names == ("arc welding", "bee, wasp, etc. buzzing", "tap dancing")
    assert train.label_names == test.label_names
    assert classes(train) == ["tap dancing", "arc welding"]
    assert frame_numbers(decoded(test[0]).video) == [3, 3]
    assert decoded(train[1]).video is None
    assert np.abs(decoded(train[1]).audio).max() > 5000


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("x,1,dog", "vggsound.csv:5: 3 cells"),
        ("x,soon,dog,train", "vggsound.csv:5: start 'soon' is no number"),
        ("x,1.5,dog,train", "vggsound.csv:5: start '1.5' is no whole number"),
        ("x,1,dog,trian", "vggsound.csv:5: 'dog', 'trian' is no class and one of"),
    ],
)
def test_torn_vggsound(line, message, vggsound):
    with (vggsound / "data" / "vggsound.csv").open("a") as file:
        file.write(line)
    with pytest.raises(UsageError, match=message):
        opened("vggsound", vggsound, "train")


ESC50 = rows(
    "filename,fold,target,category,esc10,src_file,take",
    "1-100032-A-0.wav,1,0,dog,True,100032,A",
    "1-100038-A-14.wav,1,14,chirping_birds,False,100038,A",
    "2-100039-A-1.wav,2,1,rooster,True,100039,A",
    "5-9032-A-0.wav,5,0,dog,True,9032,A",
)


@pytest.fixture
def esc50(tmp_path):
    names = [line.partition(",")[0] for line in ESC50.splitlines()[1:]]
    files = {f"audio/{name}": sound() for name in names}
    return plant(tmp_path, {"meta/esc50.csv": ESC50, **files})


def test_esc50(esc50):
    train, test, everything = (opened("esc50", esc50, split) for split in ("train1", "test1", None))
    assert keys(test) == ["1-100032-A-0.wav", "1-100038-A-14.wav"]
    assert keys(train) == ["2-100039-A-1.wav", "5-9032-A-0.wav"]
    assert len(everything) == 4
    assert train.label_names == test.label_names == ("dog", "rooster", "chirping_birds")
    np.testing.assert_array_equal(everything.labels(), [0, 2, 1, 0])
    assert np.abs(decoded(test[0]).audio).max() > 5000


def test_a_folder_may_have_an_at_sign(esc50, tmp_path):
    (tmp_path / "me@home").symlink_to(esc50)
    source = opened("esc50", tmp_path / "me@home")
    assert len(source) == 4
    assert source.spec == f"esc50:{tmp_path}/me@home"
    assert keys(opened("esc50", tmp_path / "me@home", "test2")) == ["2-100039-A-1.wav"]


def test_esc10(esc50):
    source = opened("esc10", esc50, "test1")
    assert keys(source) == ["1-100032-A-0.wav"]
    assert source.label_names == ("dog", "rooster")
    with pytest.raises(UsageError, match="no split 'fold1'"):
        opened("esc10", esc50, "fold1")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("2-100039-A-1.wav,2", "2-100039-A-1.wav,6", "esc50.csv:4: fold '6'"),
        ("5,0,dog", "5,0,cat", "esc50.csv:5: class 0 is 'cat' here and 'dog' before"),
        (",A\n5-", "\n5-", "esc50.csv:4: 6 cells where 7"),
        ("category", "label", "no column 'category'"),
    ],
)
def test_torn_esc50(old, new, message, esc50):
    plant(esc50, {"meta/esc50.csv": ESC50.replace(old, new)})
    with pytest.raises(UsageError, match=message):
        opened("esc50", esc50, "test1")


AUDIOSET = rows(
    "# Segments csv created Sun Mar  5 10:54:31 2017",
    "# num_ytids=4, num_segs=4, num_unique_labels=3, num_positive_labels=6",
    "# YTID, start_seconds, end_seconds, positive_labels",
    '--PJHxphWEs, 30.000, 40.000, "/m/09x0r,/t/dd00088"',
    '-0RWZT-miFs, 420.000, 430.000, "/m/03v3yw"',
    'plain_id_00, 0.000, 10.000, "/t/dd00088,/m/03v3yw"',
    'missing_id0, 5.000, 9.500, "/m/03v3yw"',
)
AUDIOSET_CLASSES = rows(
    "index,mid,display_name",
    '0,/m/09x0r,"Speech"',
    '1,/t/dd00088,"Gush"',
    '2,/m/03v3yw,"Keys, jangling"',
)


@pytest.fixture
def audioset(tmp_path):
    return plant(
        tmp_path,
        {
            "metadata/balanced_train_segments.csv": AUDIOSET,
            "metadata/class_labels_indices.csv": AUDIOSET_CLASSES,
            "audios/balanced_train_segments/Y--PJHxphWEs.wav": sound(),
            "audios/balanced_train_segments/part00/Y-0RWZT-miFs.wav": sound(),
            "video/plain_id_00_0_10000.mp4": video(7),
        },
    )


def test_audioset(audioset):
    source = opened("audioset", audioset, "balanced_train_segments")
    assert keys(source) == [
        "--PJHxphWEs_30000_40000", "-0RWZT-miFs_420000_430000", "plain_id_00_0_10000",
    ]  # fmt: skip
    assert source.label_names == ("Speech", "Gush", "Keys, jangling")
    assert source.labels().tolist() == [-1, -1, -1]
    expected = [{"Speech", "Gush"}, {"Keys, jangling"}, {"Gush", "Keys, jangling"}]
    assert [set(source[index].truth["classes"]) for index in range(3)] == expected
    assert sets_of(source) == expected
    assert source.skipped == (("missing_id0_5000_9500", "not on disk"),)
    assert frame_numbers(decoded(source[2]).video) == [7, 7]


def test_several_classes_in_a_mix_are_joined_by_name(audioset, esc50):
    mix = open_source(f"esc50:{esc50}@test1+audioset:{audioset}@balanced_train_segments")
    assert mix.label_names == (
        "dog",
        "rooster",
        "chirping_birds",
        "Speech",
        "Gush",
        "Keys, jangling",
    )
    assert sets_of(mix)[1:3] == [{"chirping_birds"}, {"Speech", "Gush"}]


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("balanced_train_segments", "/m/09x0r,/t/dd00088", "/m/09x0r,/t/dd0", "'/t/dd0' is no class"),
        ("balanced_train_segments", ' "/m/03v3yw"\n', ' "/m/03v3', r"segments\.csv:5: .*; is it torn"),
        ("balanced_train_segments", "420.000", "later", "time 'later' is no number"),
        ("class_labels_indices", "1,/t", "7,/t", "class 7 where 1 belongs"),
    ],
)  # fmt: skip
def test_torn_audioset(name, old, new, message, audioset):
    file = audioset / "metadata" / f"{name}.csv"
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(UsageError, match=message):
        opened("audioset", audioset, "balanced_train_segments")


def test_audioset_needs_a_list(audioset):
    with pytest.raises(UsageError, match="no list is named; write @ and one of balanced_train"):
        opened("audioset", audioset)
    with pytest.raises(UsageError, match=r"no list 'eval_segments'; there are .*balanced_train"):
        opened("audioset", audioset, "eval_segments")


@pytest.fixture
def dcase2017(tmp_path):
    download = "unbalanced_train_segments_training_set_audio_formatted_and_segmented_downloads"
    return plant(
        tmp_path,
        {
            "groundtruth_weak_label_training_set.csv": rows(
                "-5QrBL6MzLg_60.000_70.000.wav\t60.000\t70.000\tTrain horn",
                "-5QrBL6MzLg_60.000_70.000.wav\t60.000\t70.000\tTrain",
                "-C1y9SRc3Q4_30.000_40.000.wav\t30.000\t40.000\tAir horn, truck horn",
                "gone_0.000_10.000.wav\t0.000\t10.000\tBus",
            ),
            f"{download}/Y-5QrBL6MzLg_60.000_70.000.wav": sound(),
            "audio/Y-C1y9SRc3Q4_30.000_40.000.flac": sound(),
        },
    )


def test_dcase2017(dcase2017):
    source = opened("dcase2017", dcase2017, "training_set")
    assert keys(source) == ["-5QrBL6MzLg_60.000_70.000.wav", "-C1y9SRc3Q4_30.000_40.000.wav"]
    assert sets_of(source) == [{"Train horn", "Train"}, {"Air horn, truck horn"}]
    assert len(source.label_names) == 17
    with pytest.raises(UsageError, match=r"nor .raw/groundtruth_weak_label_testing_set\.csv"):
        opened("dcase2017", dcase2017, "testing_set")
    with (dcase2017 / "groundtruth_weak_label_training_set.csv").open("a") as file:
        file.write("x_0.000_10.000.wav\t0.000\t10.000\tBu")
    with pytest.raises(UsageError, match=r"training_set\.csv:5: 'Bu' is no class"):
        opened("dcase2017", dcase2017, "training_set")


@pytest.fixture
def dcase2018(tmp_path):
    return plant(
        tmp_path,
        {
            "metadata/train/weak.csv": rows("Y-BJNMHMZDcU_50.000_60.000.wav\tAlarm_bell_ringing;Dog"),
            "metadata/train/unlabel_in_domain.csv": rows("filename", "Yab_0.000_10.000.wav"),
            "metadata/test/test.csv": rows(
                "Y-vmRy0dU5kQ_0.000_5.000.wav\t0.594\t1.755\tDog",
                "Y-vmRy0dU5kQ_0.000_5.000.wav\t1.2570000000000001\t10.0\tSpeech",
                "YOTsn73eqbfc_10.000_20.000.wav\t0.163\t0.665\tAlarm_bell_ringing",
            ),
            "audio/train/weak/Y-BJNMHMZDcU_50.000_60.000.wav": sound(),
            "audio/train/unlabel_in_domain/Yab_0.000_10.000.wav": sound(),
            "audio/test/Y-vmRy0dU5kQ_0.000_5.000.wav": sound(),
        },
    )  # fmt: skip


def test_dcase2018(dcase2018):
    weak, unlabelled, test = (
        opened("dcase2018", dcase2018, split) for split in ("weak", "unlabel_in_domain", "test")
    )
    assert sets_of(weak) == [{"Alarm_bell_ringing", "Dog"}]
    # Not the same as a clip that is known to hold none of the classes.
    assert "classes" not in unlabelled[0].truth
    with pytest.raises(UsageError, match=r"nobody said of which classes 'Yab_0\.000_10\.000\.wav'"):
        sets_of(unlabelled)
    plant(dcase2018, {"metadata/train/weak.csv": "Y-BJNMHMZDcU_50.000_60.000.wav\t\n"})
    assert sets_of(opened("dcase2018", dcase2018, "weak")) == [set()]
    assert sets_of(test) == [{"Dog", "Speech"}]
    assert test[0].truth["events"] == [[0.594, 1.755, "Dog"], [1.2570000000000001, 10.0, "Speech"]]
    assert "events" not in weak[0].truth
    assert test.skipped == (("YOTsn73eqbfc_10.000_20.000.wav", "not on disk"),)
    assert len(test.label_names) == 10
    plant(dcase2018, {"metadata/train/weak.csv": "Y-B.wav\tDog;Wolf\n"})
    with pytest.raises(UsageError, match=r"weak\.csv:1: 'Wolf' is no class"):
        opened("dcase2018", dcase2018, "weak")
