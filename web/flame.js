// flame.js - stacks of one state (or all) as an icicle of buttons, and the top lines as a table.
import {STATES, make, seconds} from "./data.js";

/** @param {import("./data.js").Contender} run @param {number} state -1: all */
function weights(run, state) {
  const of = (/** @type {number[]} */ ms) => state < 0 ? ms.reduce((a, b) => a + b, 0) : ms[state];
  const own = run.stacks.map((one) => of(one.own));
  const all = run.stacks.map((one) => of(one.own) + of(one.rarer));
  for (let i = all.length - 1; i > 0; i--) all[run.stacks[i].parent] += all[i];
  return {own, all};
}

const title = (/** @type {[string, string, number] | null} */ frame) =>
  frame ? `${frame[0]}  ${frame[1]}:${frame[2]}` : "everything";

/** @param {import("./data.js").Contender} run @param {number} state */
function table(run, state) {
  const {own} = weights(run, state);
  /** @type {Map<string, number>} */
  const lines = new Map();
  run.stacks.forEach((one, i) => {
    if (own[i] > 0 && one.frame) lines.set(title(one.frame), (lines.get(title(one.frame)) ?? 0) + own[i]);
  });
  const rows = [...lines].sort((a, b) => b[1] - a[1]).slice(0, 12);
  return make("table", {}, make("caption", {}, "Top lines"),
    make("thead", {}, make("tr", {}, make("th", {scope: "col"}, "Line"), make("th", {scope: "col", class: "n"}, "Thread-time"))),
    make("tbody", {}, ...rows.map(([name, ms]) =>
      make("tr", {}, make("td", {}, name), make("td", {class: "n"}, seconds(ms))))));
}

/** @param {HTMLElement} section @param {import("./data.js").Contender} run @param {import("./view.js").View} shared @param {number} number */
export function showStacks(section, run, shared, number) {
  const select = /** @type {HTMLSelectElement} */ (make("select", {id: `state-${number}`, class: "state"}, make("option", {value: "-1"}, "all states")));
  STATES.forEach((name, state) => {
    if (run.stacks.some((one) => one.own[state] + one.rarer[state] > 0)) select.append(make("option", {value: `${state}`}, name));
  });
  const flame = make("div", {class: "flame", role: "group", "aria-label": "Flame graph"});
  const twin = make("div", {class: "scroll", tabindex: "0", role: "region", "aria-label": "Top lines"});
  let drawn = "";
  const children = run.stacks.map(() => /** @type {number[]} */ ([]));
  run.stacks.forEach((one, i) => one.parent >= 0 && children[one.parent].push(i));

  const draw = () => {
    const state = Number(select.value);
    const root = shared.roots[number] in children ? shared.roots[number] : 0;
    const {all} = weights(run, state);
    drawn = `${shared.state} ${shared.roots[number]}`;
    flame.replaceChildren();
    let deepest = 0;
    const put = (/** @type {number} */ i, /** @type {number} */ left, /** @type {number} */ depth) => {
      const share = all[i] / (all[root] || 1);
      if (share < 0.01 || depth > 60) return;
      deepest = Math.max(deepest, depth);
      const text = title(run.stacks[i].frame);
      const box = make("button", {type: "button", title: `${text}: ${seconds(all[i])}`}, text);
      box.style.left = `${left * 100}%`;
      box.style.width = `${share * 100}%`;
      box.style.top = `${depth * 22}px`;
      box.className = `d${depth % 3}`;
      box.addEventListener("click", () => {
        shared.roots[number] = i === root ? 0 : i;
        shared.save();
        draw();
      });
      flame.append(box);
      for (const child of children[i].sort((a, b) => all[b] - all[a])) {
        put(child, left, depth + 1);
        left += all[child] / (all[root] || 1);
      }
    };
    put(root, 0, 0);
    flame.style.height = `${(deepest + 1) * 22}px`;
    twin.replaceChildren(table(run, state));
  };
  select.value = `${shared.state}`;
  if (select.selectedIndex < 0) select.value = "-1";
  select.addEventListener("change", () => {
    shared.roots[number] = 0;
    shared.state = Number(select.value);
    shared.save();
    draw();
  });
  shared.listeners.push((what) => {
    if (what !== "rest" || drawn === `${shared.state} ${shared.roots[number]}`) return;
    select.value = `${shared.state}`;
    if (select.selectedIndex < 0) select.value = "-1";
    draw();
  });
  section.append(make("h2", {}, "Where in the code"),
    make("p", {}, make("label", {for: `state-${number}`}, "Time spent in "), select, " A click widens a frame; a second one goes back."),
    make("div", {class: "icicle"}, flame), twin);
  section.hidden = false;
  draw();
}
