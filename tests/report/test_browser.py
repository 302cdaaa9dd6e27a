"""The page in headless Chromium: no error in its console, and everything on it answers.

A harness holds the page in a frame, uses it as a reader does and writes down what it saw.
"""

import contextlib
import json
import queue
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from avssl.report.page import write_report
from tests.report.folders import untrained

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        BROWSER is None, reason="no Chromium is installed (Debian: apt install chromium)"
    ),
]
SECONDS = 120
HARNESS = """<!doctype html><meta charset="utf-8">
<iframe width="WIDTH" height="900" src="PAGE"></iframe><script>
const frame = document.querySelector("iframe"), seen = {};
const wait = milliseconds => new Promise(done => setTimeout(done, milliseconds));
frame.onload = async () => {
  const page = frame.contentDocument, window = frame.contentWindow;
  const all = selector => [...page.querySelectorAll(selector)];
  seen.wider = page.documentElement.scrollWidth - page.documentElement.clientWidth;
  const ground = () => window.getComputedStyle(page.body).backgroundColor;
  seen.grounds = [ground()];
  page.getElementById("theme").click();
  seen.grounds.push(ground());
  const plot = page.querySelector("svg[data-plot]"), box = plot.getBoundingClientRect();
  const place = {clientX: box.left + box.width * 0.97, clientY: box.top + 9};
  plot.dispatchEvent(new window.PointerEvent("pointermove", place));
  seen.tip = page.querySelector(".tip").hidden ? "" : page.querySelector(".tip").innerText;
  seen.panels = all("[role=tab]").map(tab => {
    tab.click();
    return all("[role=tabpanel]").map(panel => panel.hidden ? 0 : 1).join("");
  });
  const field = page.querySelector("input.filter");
  field.value = "learning_rate";
  field.dispatchEvent(new window.Event("input"));
  seen.rows = all(".filtered tbody tr").filter(row => !row.hidden).length;
  seen.images = all("img").every(image => image.complete && image.naturalWidth > 0);
  const button = page.querySelector("button.play");
  if (button) {
    button.click();
    seen.playing = [button.classList.contains("playing")];
    for (let left = 100; left > 0 && button.classList.contains("playing"); left--) await wait(200);
    seen.playing.push(button.classList.contains("playing"), button.classList.contains("mute"));
  }
  fetch("LISTENER", {method: "POST", mode: "no-cors", body: JSON.stringify(seen)});
};
</script>"""


def opened(
    file: Path, folder: Path, *, width: int = 1200, dark: bool = False
) -> tuple[dict, list[str]]:
    """(what the harness saw of a page, what the console said)."""
    with listening() as (address, heard):
        text = HARNESS.replace("WIDTH", str(width)).replace("PAGE", file.as_uri())
        harness, log = folder / "harness.html", folder / "browser.log"
        harness.write_text(text.replace("LISTENER", address))
        command = [
            str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu",
            f"--user-data-dir={folder / 'profile'}",
            f"--blink-settings=preferredColorScheme={0 if dark else 1}", "--allow-file-access-from-files",
            "--autoplay-policy=no-user-gesture-required", "--disable-audio-output", "--enable-logging=stderr",
            "--window-size=1300,1000", "--remote-debugging-port=0", harness.as_uri(),
        ]  # fmt: skip
        with open(log, "wb") as errors, subprocess.Popen(command, stderr=errors) as browser:
            try:
                seen = heard.get(timeout=SECONDS)
            except queue.Empty:
                pytest.fail(f"the harness did not end: {log.read_text()[-2000:]}")
            finally:
                browser.terminate()
    said = [line for line in log.read_text().splitlines() if "CONSOLE" in line]
    return json.loads(seen), said


@contextlib.contextmanager
def listening() -> Iterator[tuple[str, queue.Queue]]:
    """An address on this machine, and what is posted to it."""
    heard: queue.Queue = queue.Queue()

    class Listener(BaseHTTPRequestHandler):
        def do_POST(self):
            heard.put(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Listener) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/", heard
        finally:
            server.shutdown()
            thread.join()


def test_a_page_with_clips_answers_without_errors(trained_run, tmp_path):
    file = write_report([trained_run], tmp_path / "page.html")
    seen, said = opened(file, tmp_path)
    assert said == []
    assert seen["wider"] == 0
    assert seen["grounds"] == ["rgb(255, 255, 255)", "rgb(20, 22, 26)"]
    assert seen["tip"].startswith("step 2")
    assert seen["panels"] == ["1000", "0100", "0010", "0001"]
    assert seen["rows"] == 1
    assert seen["images"]
    # It plays, a quarter of a second later it has ended, and nothing kept it from being played.
    assert seen["playing"] == [True, False, False]


def test_several_runs_on_a_narrow_dark_screen(tmp_path):
    folders = [untrained(tmp_path / name) for name in ("one", "two")]
    seen, said = opened(
        write_report(folders, tmp_path / "page.html", clips=False), tmp_path, width=390, dark=True
    )
    assert said == []
    assert seen["wider"] == 0, "nothing but tables scrolls sideways"
    assert seen["grounds"] == ["rgb(20, 22, 26)", "rgb(255, 255, 255)"]
    assert seen["tip"].splitlines()[0] == "step 5"
    assert "one" in seen["tip"]
    assert "two" in seen["tip"]


def test_errors_would_be_seen(tmp_path):
    """What the tests above count on: an injected script is refused, and the console says so."""
    file = write_report([untrained(tmp_path / "one")], tmp_path / "page.html", clips=False)
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("</main>", "<script>document.title = 'ran'</script></main>"))
    _, said = opened(file, tmp_path)
    assert len(said) == 1
    assert "Content Security Policy" in said[0]
