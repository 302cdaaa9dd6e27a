"""HTML from Python: what is not `Markup` is text, and text is always escaped.

Class names, keys and config values are other people's words: nothing that they hold can become a tag.
"""

import html
import json
from collections.abc import Iterable
from typing import Any

from avssl.data.keys import printable

VOID = ("br", "img", "input", "link", "meta")


class Markup(str):
    """HTML, made by the functions below."""

    __slots__ = ()


def markup(child: Any) -> Markup:
    """Markup as it is, several things one after the other, None as nothing, anything else as text."""
    if isinstance(child, Markup):
        return child
    if child is None:
        return Markup()
    if isinstance(child, Iterable) and not isinstance(child, str):
        return Markup("".join(map(markup, child)))
    return Markup(html.escape(printable(str(child))))


def tag(name: str, /, *children: Any, **attributes: Any) -> Markup:
    """An element. `class_` loses its underscore, others become dashes; None and False are left out."""
    written = "".join(
        f" {key.rstrip('_').replace('_', '-')}"
        + ("" if value is True else f'="{html.escape(printable(str(value)))}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in VOID:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{markup(children)}</{name}>")


def data_script(values: Any, **attributes: Any) -> Markup:
    """Values for the page's script, as JSON that cannot close its own element."""
    text = json.dumps(values, separators=(",", ":"), allow_nan=False)
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return tag("script", Markup(text), type="application/json", **attributes)


def note(text: str) -> Markup:
    """A line that says why something is not there, or what it is."""
    return tag("p", text, class_="note")


def scrolled(*children: Any) -> Markup:
    """What may be wider than a narrow screen."""
    return tag("div", *children, class_="scrolled", tabindex="0")
