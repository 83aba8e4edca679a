// race.js - all runs at once: a strip per core of each, a clock each, and the run played or scrubbed on one axis.
import {cores, make} from "./data.js";
import {Lanes, ROW, AXIS} from "./lanes.js";
import {clock, coreTable} from "./time.js";

const MOST = 16; // cores in a strip

/** @param {HTMLElement} section @param {(import("./data.js").Contender | null)[]} runs @param {import("./view.js").View} shared */
export function showRace(section, runs, shared) {
  section.append(make("h2", {}, "Side by side on one axis"), player(shared));
  /** @type {(() => void)[]} */
  const draws = [];
  for (const run of runs) {
    if (!run) continue;
    const canvas = /** @type {HTMLCanvasElement} */ (make("canvas", {"aria-hidden": "true"}));
    const text = make("span", {class: "clock"});
    const box = make("div", {class: "strip"}, canvas);
    section.append(make("p", {class: "racer"}, make("b", {}, run.name), " ", text), box);
    const lanes = new Lanes(canvas);
    const all = cores(run);
    const rows = all.slice(0, MOST).map(({label, lane}) => ({label, lane, core: true}));
    if (all.length > MOST) section.append(make("p", {class: "hint"}, `The first ${MOST} of ${all.length} CPUs; the table has all.`));
    draws.push(() => {
      const {cursor, mask, from, to} = shared.shown;
      text.textContent = clock(run, cursor < 0 ? run.wall : cursor) + (cursor < 0 || cursor >= run.wall ? " · done" : "");
      lanes.resize(box.clientWidth, AXIS + rows.length * ROW);
      const style = getComputedStyle(document.documentElement);
      const color = (/** @type {string} */ name) => style.getPropertyValue(name).trim();
      lanes.draw(rows, {from, to, cursor, mask, brush: null}, 0, {ink: color("--ink"), faint: color("--faint"), paper: color("--paper")});
    });
  }
  if (runs.some((one) => one && one.speedup > 0)) {
    section.append(make("p", {class: "hint"}, `How many times as fast as ${runs[0]?.name} a run is, is measured at its end; until then it follows from the share of its CPU time that it has used.`));
  }
  section.append(coreTable(runs.flatMap((run) => run ? [/** @type {[string, import("./data.js").Contender]} */ ([run.name, run])] : [])));
  let asked = 0;
  const draw = () => { asked = 0; for (const one of draws) one(); };
  const redraw = () => { asked = asked || requestAnimationFrame(draw); };

  shared.listeners.push(redraw);
  window.addEventListener("resize", redraw);
  document.addEventListener("themechange", redraw);
  document.addEventListener("paper", draw);
  section.hidden = false;
}

/** The run played, or its moment taken by hand. @param {import("./view.js").View} shared */
export function player(shared) {
  const play = make("button", {type: "button", id: "play"}, "Play");
  const scrub = /** @type {HTMLInputElement} */ (make("input", {type: "range", id: "scrub", min: "0", max: `${shared.wall}`, step: "any", "aria-label": "Moment of the run"}));
  /** 0: stands still. */
  let frame = 0;
  const stop = () => {
    cancelAnimationFrame(frame);
    frame = 0;
    play.textContent = "Play";
    shared.shown.mask = false;
    shared.tell("cursor");
  };
  play.addEventListener("click", () => {
    if (frame) { stop(); return; }
    let last = performance.now();
    if (shared.shown.cursor >= shared.wall || shared.shown.cursor < 0) shared.shown.cursor = 0;
    shared.shown.mask = true;
    play.textContent = "Pause";
    const speed = Math.max(1, shared.wall / 20000); // a long run takes 20 s
    // Whoever wants less motion sees a step a second.
    const pause = matchMedia("(prefers-reduced-motion: reduce)").matches ? 1000 : 0;
    const step = (/** @type {number} */ now) => {
      if (now - last >= pause) {
        shared.point(shared.shown.cursor + (now - last) * speed);
        last = now;
      }
      if (shared.shown.cursor >= shared.wall) stop();
      else frame = requestAnimationFrame(step);
    };
    frame = requestAnimationFrame(step);
  });
  scrub.addEventListener("input", () => { if (frame) stop(); shared.point(Number(scrub.value)); });
  const follow = () => { scrub.value = `${Math.max(0, shared.shown.cursor)}`; };
  shared.listeners.push(follow);
  follow();
  return make("p", {class: "tools"}, play, scrub);
}
