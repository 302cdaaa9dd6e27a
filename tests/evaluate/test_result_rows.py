import io
import json
import os

import pytest

from avssl.errors import AvsslError
from avssl.evaluate.rows import (
    Row,
    format_table,
    less_is_better,
    print_table,
    read_json,
    write_json,
)

LINEAR = Row("linear", "video", "top1", 0.61, 0.22, 0.1, 400, 0.56, 0.655)
WORSE = Row("retrieval", "video->audio", "class_p1", 0.085, 0.1, 0.1, 400)
RANK = Row("retrieval", "audio->video", "median_rank", 12.0, 201.0, 200.5, 400)


def test_json_has_the_promised_keys(tmp_path):
    write_json(tmp_path / "eval.json", [LINEAR, WORSE], "avssl evaluate --workdir 'a b'")
    written = json.loads((tmp_path / "eval.json").read_text())
    assert list(written) == ["command", "rows"]
    assert written["command"] == "avssl evaluate --workdir 'a b'"
    assert written["rows"][0] == {
        "protocol": "linear",
        "features": "video",
        "metric": "top1",
        "value": 0.61,
        "random_init": 0.22,
        "chance": 0.1,
        "n": 400,
        "low": 0.56,
        "high": 0.655,
        "spread": None,
    }
    assert [row["features"] for row in written["rows"]] == ["video", "video->audio"]
    assert os.listdir(tmp_path) == ["eval.json"]


def test_rewriting_replaces(tmp_path):
    write_json(tmp_path / "eval.json", [LINEAR, WORSE], "avssl")
    write_json(str(tmp_path / "eval.json"), [RANK], "avssl")
    assert len(json.loads((tmp_path / "eval.json").read_text())["rows"]) == 1


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(AvsslError, match=r"cannot write the results to .*nowhere.*No such file"):
        write_json(tmp_path / "nowhere" / "eval.json", [LINEAR], "avssl")


def test_table_is_aligned_in_percent_and_points():
    table = format_table([LINEAR, WORSE, RANK]).splitlines()
    headings = " ".join(table[0].split())
    assert headings == "protocol features metric value 95 % random_init difference chance n"
    assert "61.0 %" in table[1]
    assert "+39.0" in table[1]
    assert "56.0 – 65.5 %" in table[1]
    assert "10.0 %" in table[1]
    assert "-1.5" in table[2]
    assert table[3].split()[3:] == ["12.0", "–", "201.0", "-189.0", "200.5", "400"]
    assert len({len(line) for line in table}) == 1
    assert table[0].index("metric") == table[1].index("top1") == table[3].index("median_rank")


def test_without_a_random_baseline_nothing_is_compared_with_it(tmp_path):
    row = Row("localization", "objects", "mean_ciou", 0.286, None, 0.06, 400)
    cells = format_table([row, WORSE]).splitlines()[1].split()
    assert cells[3:] == ["28.6", "%", "–", "–", "–", "6.0", "%", "400"]
    write_json(tmp_path / "eval.json", [row], "avssl")
    assert read_json(tmp_path / "eval.json") == [row]
    with pytest.raises(ValueError, match="chance is nan"):
        Row("localization", "objects", "mean_ciou", 0.3, None, float("nan"), 400)


def test_print_goes_where_it_is_told():
    file = io.StringIO()
    print_table([LINEAR], "avssl evaluate --workdir run", file)
    assert file.getvalue() == f"$ avssl evaluate --workdir run\n{format_table([LINEAR])}\n"


@pytest.mark.parametrize("value", [61.0, -0.1, float("nan")])
def test_a_value_that_is_no_fraction_is_refused(value):
    with pytest.raises(ValueError, match="linear top1: value"):
        Row("linear", "video", "top1", value, 0.2, 0.1, 400)


def test_numbers_that_are_no_fractions():
    rows = [
        Row("tagging", "audio", "mutual/d_prime", 2.895, -0.104, 0.0, 400, 2.7, 3.1),
        Row("clustering", "video", "labels_mean_entropy", 2.5, 3.1, 3.2, 400),
        Row("retrieval", "audio->video", "xid/median_rank", 12.0, 201.0, 200.5, 400),
    ]
    lines = [" ".join(line.split()[3:]) for line in format_table(rows).splitlines()[1:]]
    assert lines == [
        "2.90 2.70 – 3.10 -0.10 +3.00 0.00 400",
        "2.50 – 3.10 -0.60 3.20 400",
        "12.0 – 201.0 -189.0 200.5 400",
    ]
    assert less_is_better("labels_mean_entropy")
    assert less_is_better("eer")
    assert not less_is_better("mutual/d_prime")
    with pytest.raises(ValueError, match="value is inf"):
        Row("tagging", "audio", "d_prime", float("inf"), 0.0, 0.0, 400)
    with pytest.raises(ValueError, match=r"value is -0.5, not from 0.0 to inf"):
        Row("clustering", "video", "mean_entropy", -0.5, 0.0, 0.0, 400)
    assert Row("clustering", "video", "labels_ari", -0.1, 0.0, 0.0, 400).value == -0.1
