"""How each published data set is prepared: the pages that `avssl data guide` prints."""

from importlib import resources

from avssl.console import aligned
from avssl.errors import unknown

# Kinds of source that are told of on the page of another.
TOLD_WITH = {"dcase2017": "dcase", "dcase2018": "dcase", "esc10": "esc50", "ucf51": "ucf101"}


def pages() -> dict[str, str]:
    """Markdown by the name of the data set."""
    folder = resources.files("avssl.data") / "guides"
    files = sorted(folder.iterdir(), key=lambda file: file.name)
    return {file.name.removesuffix(".md"): file.read_text(encoding="utf-8") for file in files}


def page(name: str) -> str:
    found, name = pages(), TOLD_WITH.get(name, name)
    if name not in found:
        raise unknown("guide", name, [*found, *TOLD_WITH])
    return found[name].rstrip()


def listing() -> str:
    """A line for each page."""
    rows = [(name, text.partition("\n")[0].removeprefix("# ")) for name, text in pages().items()]
    return "\n".join(aligned(rows, left={0, 1}))
