// time.js - a run's time line: lanes, counters, the range that was taken, and how mouse, touch and keys move the view.
import {LOOK_NAMES, STATES, PYTHON, NATIVE, STARTING, PICKLING, OTHERS, cores, cpuAt, firstAfter, holders, lookOf, make, seconds, speedAt, stateOf, sums,
  verdictOf} from "./data.js";
import {AXIS, Lanes, ROW, tile} from "./lanes.js";

/** @typedef {import("./data.js").Contender} Contender */
/** @typedef {import("./lanes.js").Row} Row */

const NOTHING = {from: new Float64Array(0), to: new Float64Array(0), code: new Int32Array(0)};

/** A run's threads by process, the heaviest first, and where a process has one GIL, the holder as one band.
 * @param {Contender} run */
export function grouped(run) {
  const lives = new Map(run.threads.map((one) => [one, sums([one], 0, run.wall).reduce((a, b) => a + b, 0)]));
  /** @type {Map<number, import("./data.js").Thread[]>} */
  const processes = new Map();
  for (const one of run.threads) processes.set(one.pid, [...(processes.get(one.pid) ?? []), one]);
  const weight = (/** @type {import("./data.js").Thread[]} */ all) => all.reduce((sum, one) => sum + (lives.get(one) ?? 0), 0);
  return [...processes].sort((a, b) => weight(b[1]) - weight(a[1]) || a[0] - b[0]).map(([pid, threads]) => ({pid, band: holders(run.gils.has(pid) ? threads : []),
    name: threads.find((one) => one.tid === pid)?.name ?? "", threads: threads.sort((a, b) => (lives.get(b) ?? 0) - (lives.get(a) ?? 0))}));
}

/** The threads that pass the filter, and their rows: below that of their process, where there are several, or of its GIL.
 * @param {ReturnType<typeof grouped>} processes @param {string} word */
export function threadRows(processes, word) {
  /** @type {Row[]} */
  const rows = [];
  const shown = [];
  for (const {pid, name, band, threads} of processes) {
    const some = threads.filter((one) => `${one.name} ${one.pid} ${one.tid}`.toLowerCase().includes(word.toLowerCase()));
    const who = processes.length > 1 && name ? `${name} ${pid}` : `${pid}`;
    const gil = band.from.length > 0 && threads.length > 1;
    if (some.length && gil) rows.push({label: `GIL of ${who}`, lane: band, core: true, head: true, gil});
    else if (some.length && processes.length > 1) rows.push({label: `Process ${who}`, lane: NOTHING, core: false, head: true});
    for (const one of some) rows.push({core: false, lane: one.lane, label: one.merged > 1 ? `${one.merged} threads` : `${one.name || "thread"} ${one.tid}`});
    shown.push(...some);
  }
  return {rows, shown};
}

/** What one sees of the range: the exact figures of it, and the verdict of the judged range nearest to it, which like the cores used
 * is that of the whole run whatever the filter.
 * @param {HTMLElement} into @param {Contender} run @param {import("./data.js").Thread[]} threads @param {[number, number] | null} brush */
function tellRange(into, run, threads, brush) {
  into.replaceChildren();
  if (!brush) return;
  const [from, to] = [brush[0], Math.min(brush[1], run.wall)];
  if (to <= from) return;
  const spent = sums(threads, from, to);
  const total = spent.reduce((a, b) => a + b, 0) || 1;
  const used = (cpuAt(run, to) - cpuAt(run, from)) / (to - from);
  const verdict = verdictOf(run, from, to);
  into.append(make("h3", {}, `${seconds(from)} to ${seconds(to)}`));
  if (verdict) {
    into.append(make("p", {class: "said"}, verdict.sentence, " ", make("span", {class: "tag"}, `${verdict.id}, ${verdict.confidence}`)),
      make("p", {}, verdict.evidence), make("p", {class: "hint"}, `Judged: ${seconds(verdict.from)} to ${seconds(verdict.to)}, all threads.`));
  } else {
    const least = Math.min(...run.verdicts.map((_, i) => run.judged[2 * i + 1] - run.judged[2 * i]));
    into.append(make("p", {class: "said"}, run.verdicts.length === 0 ? "No verdict: of this run no part was judged by itself."
      : `No verdict: no part of the run near to this one was judged by itself; the shortest that was took ${seconds(least)}.`));
  }
  const some = threads.length < run.threads.length ? ` by the whole run; below, only the ${threads.length} of ${run.threads.length} threads that the filter shows` : "";
  into.append(make("table", {}, make("caption", {}, `${used.toFixed(2)} of ${run.usable} cores used${some}`),
    make("thead", {}, make("tr", {}, ...["State", "Thread-time", "%"].map((name) => make("th", {scope: "col"}, name)))),
    make("tbody", {}, ...spent.map((ms, state) => ms > 0 ? make("tr", {}, make("th", {scope: "row"}, STATES[state]),
      make("td", {class: "n"}, seconds(ms)), make("td", {class: "n"}, (100 * ms / total).toFixed(1))) : ""))));
}

/** @param {Contender} run @param {number} at @returns {string} the counters at a moment */
export function clock(run, at) {
  const cpu = cpuAt(run, Math.min(at, run.wall));
  const wall = Math.min(at, run.wall);
  const cores = (wall > 0 ? cpu / wall : 0).toFixed(2);
  const speed = speedAt(run, wall);
  return `${seconds(wall)} wall · ${seconds(cpu)} CPU · ${cores} of ${run.usable} cores used so far` +
    (speed > 0 ? ` · ${speed.toFixed(2)}× as fast as ${run.base || "one core"}` : "");
}

/** The twin of core lanes: seconds of each core by what it did. @param {[string, Contender][]} runs by name; one alone needs none */
export function coreTable(runs) {
  const kinds = [PYTHON, NATIVE, STARTING, PICKLING, OTHERS];
  const cell = (/** @type {number} */ ms) => make("td", {class: "n"}, (ms / 1000).toFixed(2));
  const rows = runs.flatMap(([name, run]) => cores(run).map(({label, lane}) => {
    const spent = kinds.map(() => 0);
    for (let i = 0; i < lane.from.length; i++) {
      spent[kinds.indexOf(lane.code[i] < 0 ? OTHERS : lookOf(lane.code[i]))] += lane.to[i] - lane.from[i];
    }
    const idle = Math.max(0, run.wall - spent.reduce((a, b) => a + b, 0));
    return make("tr", {}, runs.length > 1 ? make("td", {}, name) : "", make("th", {scope: "row"}, label), ...[...spent, idle].map(cell));
  }));
  const columns = ["Core", ...kinds.map((look) => LOOK_NAMES[look]), "Idle"];
  return make("details", {}, make("summary", {}, "The cores as a table"),
    make("div", {class: "scroll", tabindex: "0", role: "region", "aria-label": runs.length > 1 ? "Cores of all runs" : "Cores"},
      make("table", {class: "core-table"}, make("caption", {}, "Seconds of each core"),
        make("thead", {}, make("tr", {}, runs.length > 1 ? make("th", {scope: "col"}, "Run") : "",
          ...columns.map((name, i) => make("th", {scope: "col", class: i ? "n" : ""}, name)))), make("tbody", {}, ...rows))));
}

/** @param {HTMLElement} section @param {Contender} run @param {import("./view.js").View} shared @returns {() => void} to be called when it comes into sight */
export function showTime(section, run, shared, /** @type {number} */ number) {
  const view = shared.shown;
  const canvas = /** @type {HTMLCanvasElement} */ (make("canvas", {tabindex: "0", role: "img",
    "aria-label": "What each core and thread did over time; arrow keys move the cursor, + and - zoom; the tables below have the figures"}));
  const box = make("div", {class: "lanes"}, canvas);
  const filter = /** @type {HTMLInputElement} */ (make("input", {id: `filter-${number}`, class: "filter", type: "search", placeholder: "name, process or thread id"}));
  const whole = make("button", {type: "button", class: "whole"}, "Whole run");
  const mode = make("button", {type: "button", class: "mode", "aria-pressed": "false"}, "Take a range");
  const counters = make("p", {class: "counters"});
  const live = make("p", {class: "hidden", "aria-live": "polite"});
  const range = make("div", {class: "range"});
  const coreRows = cores(run).map(({label, lane}) => ({label, lane, core: true}));
  const looks = new Set(run.threads.flatMap(({lane}) => [...new Set(lane.code)].map(lookOf)));
  if (coreRows.some(({lane}) => lane.code.includes(-1))) looks.add(OTHERS);
  const legend = make("ul", {class: "legend"}, ...[...looks].sort((a, b) => a - b).map((look) => make("li", {}, tile(look), LOOK_NAMES[look])));
  section.append(make("h2", {}, "What ran when"),
    make("p", {class: "tools"}, make("label", {for: `filter-${number}`}, "Threads "), filter, mode, whole),
    counters, box, legend,
    make("p", {class: "hint"}, "Wheel, pinch or + and − zoom; drag or A and D move; drag on the scale, Shift and drag or Shift and arrows take a range.",
      run.base ? "" : " As fast as one core: the CPU time of the work itself, without starting and pickling, over the wall time.",
      run.coarse ? ` Down-sampled to steps of ${seconds(run.step)}: over time each state keeps its share, to a step a thread.` : "",
      coreRows.some(({lane}) => lane.code.includes(-1)) && run.busy.ends.length ? ` Another program: where the kernel counted that most of what ours left of a core was used, in steps of ${seconds(run.wall / run.busy.ends.length)}.` : ""),
    range, coreTable([["", run]]), live);
  section.hidden = false;

  const lanes = new Lanes(canvas);
  const processes = grouped(run);
  let shown = run.threads;
  /** @type {Row[]} */
  let rows = [];
  let asked = 0;
  let taking = false;

  const draw = () => {
    asked = 0;
    const style = getComputedStyle(document.documentElement);
    const color = (/** @type {string} */ name) => style.getPropertyValue(name).trim();
    lanes.draw(rows, view, shared.scrolls[number], {ink: color("--ink"), faint: color("--faint"), paper: color("--paper")});
  };
  const redraw = () => { asked = asked || requestAnimationFrame(draw); };
  const layout = () => {
    const height = Math.min(AXIS + rows.length * ROW + 4, 560);
    if (box.clientWidth === 0) return; // a tab out of sight
    lanes.resize(box.clientWidth, height);
    shared.scrolls[number] = Math.max(0, Math.min(shared.scrolls[number] ?? 0, AXIS + rows.length * ROW + 4 - height));
    draw();
  };
  const scroll = (/** @type {number} */ by) => {
    shared.scrolls[number] += Math.round(by);
    layout();
    shared.save();
  };
  const select = () => {
    filter.value = shared.filter;
    const found = threadRows(processes, shared.filter);
    shown = found.shown;
    rows = [...coreRows, ...found.rows];
    layout();
  };
  const tell = () => {
    const at = view.cursor < 0 ? run.wall : view.cursor;
    let now = 0;
    for (const {lane} of run.threads) {
      const i = firstAfter(lane, at);
      if (i < lane.from.length && lane.from[i] <= at && [PYTHON, NATIVE].includes(stateOf(lane.code[i]))) now++;
    }
    counters.textContent = clock(run, at) + (view.cursor < 0 ? "" : ` · ${now} thread${now === 1 ? "" : "s"} computing now`);
  };
  const point = (/** @type {number} */ ms) => shared.point(ms);
  const look = (/** @type {number} */ from, /** @type {number} */ to) => shared.look(from, to);
  const zoom = (/** @type {number} */ factor, /** @type {number} */ at) => shared.zoom(factor, at);

  const xOf = (/** @type {{clientX: number}} */ event) => event.clientX - canvas.getBoundingClientRect().left;
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    if (event.shiftKey) {
      scroll(event.deltaY || event.deltaX);
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
  let dragging = false;
  canvas.addEventListener("pointerdown", (event) => {
    down.set(event.pointerId, xOf(event));
    canvas.setPointerCapture(event.pointerId);
    start = lanes.ms(view, xOf(event));
    dragging = event.shiftKey || taking || event.clientY - canvas.getBoundingClientRect().top < AXIS;
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
    } else if (dragging) {
      const at = Math.max(0, Math.min(lanes.ms(view, x), run.wall));
      view.brush = at < start ? [Math.max(at, 0), start] : [Math.max(start, 0), at];
      redraw();
    } else {
      const by = (last - x) / (lanes.width - lanes.labels) * (view.to - view.from);
      look(view.from + by, view.to + by);
      down.set(event.pointerId, x);
    }
  });
  const up = (/** @type {PointerEvent} */ event) => {
    down.delete(event.pointerId);
    if (dragging && down.size === 0) shared.take(view.brush);
    dragging = dragging && down.size > 0;
  };
  canvas.addEventListener("pointerup", up);
  canvas.addEventListener("pointercancel", up);

  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return; // the browser's
    const step = (view.to - view.from) / 50;
    const cursor = view.cursor < 0 ? view.from : view.cursor;
    const key = event.key.toLowerCase();
    if (key === "arrowleft" || key === "arrowright") {
      const to = Math.max(0, Math.min(run.wall, cursor + (key === "arrowleft" ? -step : step)));
      if (event.shiftKey) {
        const [a, b] = view.brush ?? [cursor, cursor];
        const kept = Math.abs(cursor - a) < Math.abs(cursor - b) ? b : a;
        shared.take(kept < to ? [kept, to] : [to, kept]);
      }
      point(to);
      if (to < view.from || to > view.to) look(to - 25 * step, to + 25 * step);
      live.textContent = counters.textContent;
    } else if (key === "arrowup" || key === "arrowdown") {
      scroll(key === "arrowup" ? -ROW : ROW);
    } else if (key === "+" || key === "=" || key === "w") zoom(0.7, view.cursor < 0 ? (view.from + view.to) / 2 : cursor);
    else if (key === "-" || key === "s") zoom(1 / 0.7, view.cursor < 0 ? (view.from + view.to) / 2 : cursor);
    else if (key === "a") look(view.from - 5 * step, view.to - 5 * step);
    else if (key === "d") look(view.from + 5 * step, view.to + 5 * step);
    else if (key === "0") look(0, shared.wall);
    else if (key === "escape") shared.take(null)
    else return;
    event.preventDefault();
  });
  filter.addEventListener("input", () => { shared.filter = filter.value; shared.tell("rest"); });
  mode.addEventListener("click", () => {
    taking = !taking;
    mode.setAttribute("aria-pressed", `${taking}`);
  });
  whole.addEventListener("click", () => { shared.take(null); look(0, shared.wall); });
  window.addEventListener("resize", layout);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  document.addEventListener("themechange", redraw);
  const showRange = () => tellRange(range, run, shown, view.brush);
  shared.listeners.push((what) => {
    if (section.offsetParent === null) return; // told when its tab is chosen
    if (what === "rest") select();
    if (what === "rest" || what === "brush") showRange();
    if (what === "rest" || what === "cursor") tell();
    redraw();
  });
  return () => { select(); tell(); showRange(); };
}
