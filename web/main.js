// main.js - the page comes alive: a tab a run, each with its time line and stacks when it is first looked at.
import {decode, make} from "./data.js";
import {showStacks} from "./flame.js";
import {player, showRace} from "./race.js";
import {showTime} from "./time.js";
import {View} from "./view.js";

const articles = /** @type {HTMLElement[]} */ ([...document.querySelectorAll(".run")]);
const data = JSON.parse(document.getElementById("data")?.textContent ?? "");
const raced = data.contenders.some((/** @type {any} */ one) => one?.speedup > 0);
/** @type {(import("./data.js").Contender | null)[]} */
const runs = data.contenders.map((/** @type {any} */ one) => one && decode(one, raced ? data.contenders[0]?.name : ""));
const shared = new View(Math.max(...runs.map((one) => one?.wall ?? 0), 0), data.shown, articles.length);
const main = /** @type {HTMLElement} */ (document.querySelector("main"));

/** @type {(() => void)[]} what a tab does when it comes into sight */
const shows = runs.map((run, i) => {
  /** @type {(() => void) | null} */
  let show = null;
  return () => {
    const section = (/** @type {string} */ name) => /** @type {HTMLElement} */ (articles[i].querySelector(`section.${name}`));
    if (!run) return;
    if (!show) {
      show = run.threads.length && run.wall > 0 ? showTime(section("time"), run, shared, i) : () => {};
      if (run.stacks.length > 1) showStacks(section("stacks"), run, shared, i);
      for (const one of runs.length > 1 ? articles[i].querySelectorAll("[role=region]") : []) { // paper has all tabs' at once
        one.setAttribute("aria-label", `${one.getAttribute("aria-label")}, ${run.name}`);
      }
    }
    show();
  };
});

/** @type {HTMLElement[]} */
const tabs = [];
const choose = (/** @type {number} */ at) => {
  shared.tab = at >= 0 && at < articles.length ? at : shared.first;
  articles.forEach((one, i) => { one.hidden = i !== shared.tab; });
  tabs.forEach((one, i) => {
    one.setAttribute("aria-selected", `${i === shared.tab}`);
    one.tabIndex = i === shared.tab ? 0 : -1;
  });
  shows[shared.tab]();
};

if (articles.length > 1) {
  const list = make("div", {role: "tablist", "aria-label": "Runs", class: "tabs"});
  articles.forEach((article, i) => {
    const tab = make("button", {type: "button", role: "tab", id: `tab-${i}`, "aria-controls": article.id}, article.querySelector(".name")?.textContent ?? `run ${i + 1}`);
    article.setAttribute("role", "tabpanel");
    article.setAttribute("aria-labelledby", tab.id);
    tab.addEventListener("click", () => { choose(i); shared.save(); });
    tab.addEventListener("keydown", (event) => {
      const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
      if (!step) return;
      const to = (i + step + articles.length) % articles.length;
      choose(to);
      tabs[to].focus();
      shared.save();
    });
    tabs.push(tab);
    list.append(tab);
  });
  main.insertBefore(list, articles[0]);
}
const race = document.getElementById("race");
if (race && shared.wall > 0) showRace(race, runs, shared);

for (const button of /** @type {NodeListOf<HTMLButtonElement>} */ (document.querySelectorAll("button.copy"))) {
  const code = /** @type {HTMLElement} */ (button.parentElement?.querySelector("code"));
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(code.textContent ?? "");
      button.textContent = "Copied";
    } catch { // no right to the clipboard: selected, so that Ctrl-C does it
      getSelection()?.selectAllChildren(code);
      button.textContent = "Press Ctrl-C";
    }
  });
}

/** A phase is a range to take. */
for (const cell of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("th[data-from]"))) {
  const range = /** @type {[number, number]} */ ([Number(cell.dataset.from), Number(cell.dataset.to)]);
  const button = make("button", {type: "button", class: "phase"}, cell.textContent ?? "");
  button.addEventListener("click", () => {
    shared.take(range);
    shared.look(...range);
  });
  cell.replaceChildren(button);
}

const theme = /** @type {HTMLElement} */ (document.getElementById("theme"));
theme.hidden = false;
theme.addEventListener("click", () => {
  const dark = document.documentElement.dataset.theme ??
    (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  shared.theme = dark === "dark" ? "light" : "dark";
  shared.tell("rest");
});
const tellTheme = () => {
  if (shared.theme) document.documentElement.dataset.theme = shared.theme;
  else delete document.documentElement.dataset.theme;
  document.dispatchEvent(new Event("themechange"));
};
shared.listeners.push((what) => { if (what === "rest") tellTheme(); });
window.addEventListener("hashchange", () => { shared.load(); choose(shared.tab); });
shared.load();
choose(shared.tab);
if (!race) articles[0].querySelector("section.time .counters")?.after(player(shared));

/** On paper every tab is seen, and the canvases, which no style sheet reaches, are drawn for white: at once, before the print. */
const toPaper = () => {
  document.documentElement.dataset.theme = "light";
  for (const one of articles) one.hidden = false;
  for (const show of shows) show();
  document.dispatchEvent(new Event("paper"));
};
const toScreen = () => {
  tellTheme();
  choose(shared.tab);
};
window.addEventListener("beforeprint", toPaper);
window.addEventListener("afterprint", toScreen);
matchMedia("print").addEventListener("change", (event) => event.matches ? toPaper() : toScreen());
