// main.js - the page comes alive: the time line with its cursor, zoom, brush and filter, and the view in the hash.
import {STATES, PYTHON, NATIVE, cores, decode, firstAfter, make, seconds, stateOf, sums} from "./data.js";
import {AXIS, Lanes, ROW, tile} from "./lanes.js";
import {showStacks} from "./flame.js";

const find = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));

/** @param {import("./data.js").Contender} run */
function showTime(run) {
  const section = find("time");
  const canvas = /** @type {HTMLCanvasElement} */ (make("canvas", {tabindex: "0", role: "img",
    "aria-label": "What each core and thread did over time; arrow keys move the cursor, + and - zoom; the table below has the figures"}));
  const box = make("div", {class: "lanes"}, canvas);
  const filter = /** @type {HTMLInputElement} */ (make("input", {id: "filter", type: "search", placeholder: "name, process or thread id"}));
  const whole = make("button", {type: "button", id: "whole"}, "Whole run");
  const counters = make("p", {class: "counters", id: "counters"});
  const live = make("p", {class: "hidden", "aria-live": "polite", id: "live"});
  const range = make("div", {id: "range"});
  const used = STATES.map((_, state) => state).filter((state) => sums(run.threads, 0, run.wall)[state] > 0);
  const legend = make("ul", {class: "legend"}, ...used.map((state) => make("li", {}, tile(state), STATES[state])));
  section.append(make("h2", {}, "What ran when"),
    make("p", {class: "tools"}, make("label", {for: "filter"}, "Threads "), filter, whole),
    counters, box, legend,
    make("p", {class: "hint"}, "Wheel or + and − zoom, drag or arrows move, Shift and drag (or Shift and arrows) takes a range.",
      run.coarse ? ` Down-sampled to steps of ${seconds(run.step)}: over time each state keeps its share, to a step a thread.` : ""),
    range, live);
  section.hidden = false;

  const lanes = new Lanes(canvas);
  const coreRows = cores(run.threads).map(({cpu, lane}) => ({label: `CPU ${cpu}`, lane, core: true}));
  // Those that lived longest first, and with each the others of its process.
  const life = (/** @type {import("./data.js").Thread} */ one) => sums([one], 0, run.wall).reduce((a, b) => a + b, 0);
  const lives = new Map(run.threads.map((one) => [one, life(one)]));
  /** @type {Map<number, number>} */
  const weight = new Map();
  for (const [one, ms] of lives) weight.set(one.pid, (weight.get(one.pid) ?? 0) + ms);
  const order = [...run.threads].sort((a, b) => (weight.get(b.pid) ?? 0) - (weight.get(a.pid) ?? 0) || a.pid - b.pid ||
    (lives.get(b) ?? 0) - (lives.get(a) ?? 0));
  let shown = order;
  /** @type {import("./lanes.js").Row[]} */
  let rows = [];
  let scroll = 0;
  /** @type {import("./lanes.js").View} */
  const view = {from: 0, to: run.wall, cursor: -1, brush: null};
  let asked = 0;

  const draw = () => {
    asked = 0;
    const style = getComputedStyle(document.documentElement);
    const color = (/** @type {string} */ name) => style.getPropertyValue(name).trim();
    lanes.draw(rows, view, scroll, {ink: color("--ink"), faint: color("--faint"), paper: color("--paper")});
  };
  const redraw = () => { asked = asked || requestAnimationFrame(draw); };

  const layout = () => {
    const height = Math.min(AXIS + rows.length * ROW + 4, 560);
    lanes.resize(box.clientWidth, height);
    scroll = Math.max(0, Math.min(scroll, AXIS + rows.length * ROW + 4 - height));
    draw();
  };

  const select = () => {
    const word = filter.value.toLowerCase();
    shown = order.filter((one) => `${one.name} ${one.pid} ${one.tid}`.toLowerCase().includes(word));
    rows = [...coreRows, ...shown.map((one) => ({core: false, lane: one.lane,
      label: one.merged > 1 ? `${one.merged} threads` : `${one.name || "thread"} ${one.tid}`}))];
    layout();
    tell();
  };

  const tell = () => {
    const at = view.cursor < 0 ? run.wall : view.cursor;
    const done = sums(run.threads, 0, at);
    const cpu = view.cursor < 0 ? run.cpu : done[PYTHON] + done[NATIVE];
    let now = 0;
    for (const {lane} of run.threads) {
      const i = firstAfter(lane, at);
      if (i < lane.from.length && lane.from[i] <= at && [PYTHON, NATIVE].includes(stateOf(lane.code[i]))) now++;
    }
    counters.textContent = `${seconds(at)} wall · ${seconds(cpu)} CPU · ${(cpu / (at || 1)).toFixed(2)} of ${run.usable} cores used so far` +
      (view.cursor < 0 ? "" : ` · ${now} thread${now === 1 ? "" : "s"} computing now`);
  };

  const tellRange = () => {
    range.replaceChildren();
    if (!view.brush) return;
    const [from, to] = view.brush;
    const spent = sums(shown, from, to);
    const total = spent.reduce((a, b) => a + b, 0) || 1;
    const computing = spent[PYTHON] + spent[NATIVE];
    range.append(make("table", {}, make("caption", {}, `From ${seconds(from)} to ${seconds(to)}: ${(computing / (to - from)).toFixed(2)} of ${run.usable} cores used`),
      make("thead", {}, make("tr", {}, ...["State", "Thread-time", "%"].map((name) => make("th", {scope: "col"}, name)))),
      make("tbody", {}, ...used.map((state) => make("tr", {}, make("th", {scope: "row"}, STATES[state]),
        make("td", {class: "n"}, seconds(spent[state])), make("td", {class: "n"}, (100 * spent[state] / total).toFixed(1)))))));
  };

  let saving = 0;
  const save = () => {
    clearTimeout(saving);
    saving = window.setTimeout(() => {
      const parts = [`t=${view.from.toFixed(3)},${view.to.toFixed(3)}`];
      if (view.brush) parts.push(`r=${view.brush.map((ms) => ms.toFixed(3)).join(",")}`);
      if (filter.value) parts.push(`q=${encodeURIComponent(filter.value)}`);
      history.replaceState(null, "", `#${parts.join("&")}`);
    }, 120);
  };

  const look = (/** @type {number} */ from, /** @type {number} */ to) => {
    const length = Math.min(run.wall, Math.max(to - from, Math.min(run.wall, 0.05)));
    view.from = Math.max(0, Math.min(from, run.wall - length));
    view.to = view.from + length;
    redraw();
    save();
  };
  const zoom = (/** @type {number} */ factor, /** @type {number} */ at) =>
    look(at - (at - view.from) * factor, at + (view.to - at) * factor);
  const point = (/** @type {number} */ ms) => {
    view.cursor = Math.max(0, Math.min(ms, run.wall));
    tell();
    redraw();
  };

  const load = () => {
    const words = new URLSearchParams(location.hash.slice(1));
    const pair = (/** @type {string} */ name) => {
      const two = (words.get(name) ?? "").split(",").map(Number);
      return two.length === 2 && two[0] >= 0 && two[1] > two[0] && two[1] <= run.wall * 1.001 ? /** @type {[number, number]} */ (two) : null;
    };
    filter.value = words.get("q") ?? "";
    view.brush = pair("r");
    select();
    tellRange();
    const t = pair("t");
    if (t) look(t[0], t[1]);
  };

  const xOf = (/** @type {{clientX: number}} */ event) => event.clientX - canvas.getBoundingClientRect().left;
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    if (event.shiftKey) {
      scroll += event.deltaY || event.deltaX;
      layout();
    } else if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      const by = event.deltaX / lanes.width * (view.to - view.from);
      look(view.from + by, view.to + by);
    } else {
      zoom(1.0015 ** event.deltaY, lanes.ms(view, xOf(event)));
    }
  }, {passive: false});

  /** @type {Map<number, number>} pointer -> x; two of them pinch */
  const down = new Map();
  let start = 0;
  canvas.addEventListener("pointerdown", (event) => {
    down.set(event.pointerId, xOf(event));
    canvas.setPointerCapture(event.pointerId);
    start = lanes.ms(view, xOf(event));
    view.brush = event.shiftKey ? [start, start] : view.brush;
  });
  canvas.addEventListener("pointermove", (event) => {
    const x = xOf(event);
    const last = down.get(event.pointerId);
    if (last === undefined) {
      point(lanes.ms(view, x));
    } else if (down.size === 2) {
      const other = /** @type {number} */ ([...down].find(([id]) => id !== event.pointerId)?.[1]);
      zoom(Math.abs(last - other) / Math.max(8, Math.abs(x - other)), lanes.ms(view, other));
      down.set(event.pointerId, x);
    } else if (event.shiftKey && view.brush) {
      const at = Math.max(0, Math.min(lanes.ms(view, x), run.wall));
      view.brush = at < start ? [at, start] : [start, at];
      redraw();
    } else {
      const by = (last - x) / (lanes.width - lanes.labels) * (view.to - view.from);
      look(view.from + by, view.to + by);
      down.set(event.pointerId, x);
    }
  });
  const up = (/** @type {PointerEvent} */ event) => {
    down.delete(event.pointerId);
    if (view.brush && view.brush[1] - view.brush[0] <= 0) view.brush = null;
    tellRange();
    redraw();
    save();
  };
  canvas.addEventListener("pointerup", up);
  canvas.addEventListener("pointercancel", up);

  canvas.addEventListener("keydown", (event) => {
    const step = (view.to - view.from) / 50;
    const cursor = view.cursor < 0 ? view.from : view.cursor;
    const key = event.key.toLowerCase();
    if (key === "arrowleft" || key === "arrowright") {
      const to = Math.max(0, Math.min(run.wall, cursor + (key === "arrowleft" ? -step : step)));
      if (event.shiftKey) {
        const [a, b] = view.brush ?? [cursor, cursor];
        const kept = Math.abs(cursor - a) < Math.abs(cursor - b) ? b : a;
        view.brush = kept < to ? [kept, to] : [to, kept];
        tellRange();
      }
      point(to);
      if (to < view.from || to > view.to) look(to - 25 * step, to + 25 * step);
      live.textContent = counters.textContent;
      save();
    } else if (key === "arrowup" || key === "arrowdown") {
      scroll += key === "arrowup" ? -ROW : ROW;
      layout();
    } else if (key === "+" || key === "=" || key === "w") zoom(0.7, view.cursor < 0 ? (view.from + view.to) / 2 : cursor);
    else if (key === "-" || key === "s") zoom(1 / 0.7, view.cursor < 0 ? (view.from + view.to) / 2 : cursor);
    else if (key === "a") look(view.from - 5 * step, view.to - 5 * step);
    else if (key === "d") look(view.from + 5 * step, view.to + 5 * step);
    else if (key === "0") look(0, run.wall);
    else if (key === "escape") { view.brush = null; tellRange(); redraw(); save(); }
    else return;
    event.preventDefault();
  });
  filter.addEventListener("input", () => { select(); tellRange(); save(); });
  whole.addEventListener("click", () => { view.brush = null; tellRange(); look(0, run.wall); });
  window.addEventListener("resize", layout);
  window.addEventListener("hashchange", load);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  document.addEventListener("themechange", redraw);
  load();
}

const run = decode(JSON.parse(find("data").textContent ?? "").contenders[0]);
if (run.threads.length && run.wall > 0) showTime(run);
if (run.stacks.length > 1) showStacks(find("stacks"), run);

const copy = document.getElementById("copy");
if (copy) {
  copy.hidden = false;
  copy.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(find("fix").textContent ?? "");
      copy.textContent = "Copied";
    } catch { // no right to the clipboard: selected, so that Ctrl-C does it
      getSelection()?.selectAllChildren(find("fix"));
      copy.textContent = "Press Ctrl-C";
    }
  });
}
const theme = find("theme");
theme.hidden = false;
theme.addEventListener("click", () => {
  const dark = document.documentElement.dataset.theme ??
    (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  document.documentElement.dataset.theme = dark === "dark" ? "light" : "dark";
  document.dispatchEvent(new Event("themechange"));
});
