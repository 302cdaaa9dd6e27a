"""Run folders for reports: small ones that were never trained, and what a browser makes of a page."""

import json
from html.parser import HTMLParser
from pathlib import Path

from avssl.config import load_config, override, resolve, to_json
from avssl.evaluate.rows import Row, write_json

TINY = str(Path(__file__).parents[1] / "train" / "tiny_config.py")
COMMAND = "avssl evaluate --workdir 'a run'"
VOID = {"br", "img", "input", "link", "meta"}
ROWS = [
    Row("knn", "video", "top1", 0.718, 0.1, 0.1, 400),
    Row("retrieval", "video->audio", "median_rank", 12.0, 201.0, 200.5, 400),
]


def untrained(folder: Path, *overrides: tuple[str, str], steps: int = 5, rows=ROWS) -> Path:
    """A run folder without checkpoints."""
    config = load_config(TINY)
    override(config, overrides)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(to_json(resolve(config))))
    with open(folder / "metrics.jsonl", "w", encoding="utf-8") as file:
        for step in range(1, steps + 1):
            file.write(json.dumps(logged(step)) + "\n")
    if rows:
        write_json(folder / "eval.json", rows, COMMAND)
    return folder


def logged(step: int) -> dict:
    """A line of metrics."""
    return {
        "step": step, "loss": 4 / step, "xid/loss": 4 / step, "xid/video_std": 0.1, "xid/audio_std": 0.2,
        "xid/num_pairs": 8.0, "xid/video_to_audio_top1": 0.25, "xid/audio_to_video_top1": 0.5,
        "gradient_norm": 1.0, "bad_clips": step // 2, "incomplete_clips": 1, "seen_clips": 8 * step,
        "clips_per_second": 16.0, "data_wait_fraction": 0.125,
    }  # fmt: skip


class Page(HTMLParser):
    """A page as its elements, if every one is closed where it should be."""

    def __init__(self, file: Path):
        super().__init__(convert_charrefs=True)
        self.source = file.read_text(encoding="utf-8")
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(self.source)
        self.close()
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(set(names)) == len(names), f"{tag} repeats an attribute: {names}"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if not {"style", "script"} & set(self._open[-1:]):
            self.text.append(data)

    def of(self, tag: str, class_: str = "") -> list[dict[str, str | None]]:
        """The attributes of each such element."""
        return [
            attributes
            for name, attributes in self.elements
            if name == tag and (not class_ or class_ in (attributes.get("class") or "").split())
        ]

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())

    @property
    def sections(self) -> list[str | None]:
        return [attributes["id"] for attributes in self.of("section")]


def assert_self_contained(page: Page) -> None:
    """Nothing is loaded from elsewhere, and no script runs but the page's own."""
    for name, attributes in page.elements:
        for attribute in ("src", "href", "action", "data", "poster", "srcset"):
            place = attributes.get(attribute)
            assert place is None or place.startswith(("data:", "#")), (name, place)
        assert not any(attribute.startswith("on") for attribute in attributes)
    running = [script for script in page.of("script") if script.get("type") != "application/json"]
    assert len(running) == 1
    assert "url(" not in page.source
    assert "@import" not in page.source
