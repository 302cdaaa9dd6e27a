"""Other people's words stay words."""

import json
import re

import pytest

from avssl.report.markup import data_script, markup, tag

NASTY = '</td><script>alert("1")</script>&amp;\x1b[2J\u202e'


def test_text_is_escaped_and_markup_is_not():
    made = tag("td", NASTY, tag("b", "x < y"), None, ["a", 1], class_="wide", title=NASTY)
    assert "<script" not in made
    assert "<b>x &lt; y</b>a1</td>" in made
    assert made.startswith('<td class="wide" title="&lt;/td&gt;&lt;script&gt;alert(&quot;1&quot;)')
    # Neither control characters nor those that turn the direction of text.
    assert made.isprintable()


def test_attributes_that_say_nothing_are_left_out():
    assert tag("p", hidden=True, id=None, title=False) == "<p hidden></p>"
    assert tag("img", data_sound="x") == '<img data-sound="x">'


def test_a_lone_surrogate_can_be_written():
    assert markup("\udcff").encode() == b"\\udcff"


@pytest.mark.parametrize("text", [NASTY, "<!--<script>", "]]>"])
def test_data_cannot_leave_their_script(text):
    made = data_script({"key": text})
    content = re.fullmatch(r"<script[^>]*>(.*)</script>", made, re.DOTALL)[1]
    assert not set("<>&") & set(content)
    assert json.loads(content) == {"key": text}
