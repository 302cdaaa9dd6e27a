"use strict";
(() => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const root = document.documentElement;

  // Light or dark: as the system has it, until somebody chooses.
  const dark = matchMedia("(prefers-color-scheme: dark)");
  document.getElementById("theme").addEventListener("click", () => {
    const now = root.dataset.theme || (dark.matches ? "dark" : "light");
    root.dataset.theme = now === "dark" ? "light" : "dark";
  });

  // The values of all lines at the step under the pointer.
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  document.body.append(tip);
  const pointsOf = path =>
    (path.points ??= path.dataset.values.split(" ").map(pair => pair.split(",").map(Number)));
  const nearest = (points, step) => {
    let low = 0, high = points.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (points[middle][0] <= step) low = middle; else high = middle;
    }
    return step - points[low][0] <= points[high][0] - step ? points[low] : points[high];
  };
  for (const svg of all("svg[data-plot]")) {
    const [left, right, first, last] = svg.dataset.plot.split(" ").map(Number);
    const cursor = svg.querySelector(".cursor");
    const hide = () => { tip.hidden = true; cursor.setAttribute("visibility", "hidden"); };
    svg.addEventListener("pointermove", event => {
      const box = svg.getBoundingClientRect();
      const x = (event.clientX - box.left) / box.width * svg.viewBox.baseVal.width;
      const asked = first + (x - left) / (right - left) * (last - first);
      const found = all("path[data-values]", svg).map(path => [path, nearest(pointsOf(path), asked)]);
      const step = found.map(([, point]) => point[0])
        .reduce((best, each) => Math.abs(each - asked) < Math.abs(best - asked) ? each : best);
      const place = left + (step - first) / (last - first) * (right - left);
      cursor.setAttribute("x1", place);
      cursor.setAttribute("x2", place);
      cursor.setAttribute("visibility", "visible");
      tip.replaceChildren(Object.assign(document.createElement("div"), {textContent: `step ${step}`}));
      for (const [path, [, value]] of found) {
        const line = document.createElement("div");
        const dot = document.createElement("i");
        dot.style.background = getComputedStyle(path).stroke;
        const number = Object.assign(document.createElement("b"), {textContent: value + (svg.dataset.unit && " " + svg.dataset.unit)});
        line.append(dot, path.dataset.label, number);
        tip.append(line);
      }
      tip.hidden = false;
      const room = root.clientWidth - tip.offsetWidth - 8;
      tip.style.left = Math.max(8, Math.min(event.clientX + 14, room)) + "px";
      tip.style.top = Math.max(8, event.clientY - tip.offsetHeight - 12) + "px";
    });
    svg.addEventListener("pointerleave", hide);
    svg.addEventListener("pointercancel", hide);
  }

  // Tabs.
  for (const tabs of all(".tabs")) {
    const buttons = all("[role=tab]", tabs), panels = all("[role=tabpanel]", tabs);
    const choose = chosen => buttons.forEach((button, place) => {
      button.setAttribute("aria-selected", String(place === chosen));
      button.tabIndex = place === chosen ? 0 : -1;
      panels[place].hidden = place !== chosen;
    });
    buttons.forEach((button, place) => {
      button.addEventListener("click", () => choose(place));
      button.addEventListener("keydown", event => {
        const move = {ArrowRight: 1, ArrowLeft: -1}[event.key];
        if (!move) return;
        const next = (place + move + buttons.length) % buttons.length;
        choose(next);
        buttons[next].focus();
      });
    });
    choose(0);
  }

  // Sounds: one plays at a time.
  const sounds = Object.assign({}, ...all("script.sounds").map(script => JSON.parse(script.textContent)));
  const player = new Audio();
  let playing = null;
  const stop = () => {
    player.pause();
    if (playing) playing.classList.remove("playing");
    playing = null;
  };
  player.addEventListener("ended", stop);
  for (const button of all("button[data-sound]")) {
    button.addEventListener("click", () => {
      const again = playing === button;
      stop();
      if (again) return;
      playing = button;
      button.classList.add("playing");
      player.src = sounds[button.dataset.sound];
      player.play().catch(error => {
        if (error.name === "AbortError") return;
        button.title = "this browser cannot play it";
        button.classList.add("mute");
        stop();
      });
    });
  }

  // Rows of a table by what they say.
  for (const part of all(".filtered")) {
    const rows = all("tbody tr", part).map(row => [row, row.textContent.toLowerCase()]);
    part.querySelector("input").addEventListener("input", event => {
      const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const [row, text] of rows) row.hidden = !words.every(word => text.includes(word));
    });
  }
})();
