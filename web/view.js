// view.js - what is looked at: one time axis for all runs of a page, kept in the URL's hash.

/** @typedef {import("./lanes.js").View} Shown */

export class View {
  /** @param {number} wall of the longest run, in ms @param {number} first the tab that is open at first @param {number} tabs how many */
  constructor(wall, first, tabs) {
    this.wall = wall;
    this.tabs = tabs;
    /** @type {Shown} */
    this.shown = {from: 0, to: wall, cursor: -1, brush: null, mask: false};
    this.filter = "";
    this.state = -1;
    this.tab = this.first = first;
    this.theme = "";
    /** @type {number[]} a tab's frame that its flame graph is widened to; 0: all */
    this.roots = [];
    /** @type {number[]} how far a tab's lanes are scrolled */
    this.scrolls = [];
    /** @type {((what: "axis" | "cursor" | "brush" | "rest") => void)[]} */
    this.listeners = [];
    this.saving = 0;
  }

  tell(/** @type {"axis" | "cursor" | "brush" | "rest"} */ what) {
    for (const one of this.listeners) one(what);
    if (!this.shown.mask) this.save();
  }

  look(/** @type {number} */ from, /** @type {number} */ to) {
    const length = Math.min(this.wall, Math.max(to - from, Math.min(this.wall, 0.05)));
    this.shown.from = Math.max(0, Math.min(from, this.wall - length));
    this.shown.to = this.shown.from + length;
    this.tell("axis");
  }

  zoom(/** @type {number} */ factor, /** @type {number} */ at) {
    this.look(at - (at - this.shown.from) * factor, at + (this.shown.to - at) * factor);
  }

  point(/** @type {number} */ ms) {
    this.shown.cursor = Math.max(0, Math.min(ms, this.wall));
    this.tell("cursor");
  }

  take(/** @type {[number, number] | null} */ range) {
    this.shown.brush = range && range[1] > range[0] ? range : null;
    this.tell("brush");
  }

  save() {
    clearTimeout(this.saving);
    this.saving = window.setTimeout(() => {
      const {from, to, cursor, brush} = this.shown;
      const parts = [`t=${from.toFixed(3)},${to.toFixed(3)}`];
      if (brush) parts.push(`r=${brush.map((ms) => ms.toFixed(3)).join(",")}`);
      if (cursor >= 0) parts.push(`c=${cursor.toFixed(3)}`);
      if (this.filter) parts.push(`q=${encodeURIComponent(this.filter)}`);
      if (this.state >= 0) parts.push(`s=${this.state}`);
      if (this.roots[this.tab]) parts.push(`f=${this.roots[this.tab]}`);
      if (this.scrolls[this.tab]) parts.push(`y=${this.scrolls[this.tab]}`);
      if (this.tab !== this.first) parts.push(`tab=${this.tab}`);
      if (this.theme) parts.push(`theme=${this.theme}`);
      history.replaceState(null, "", `#${parts.join("&")}`);
    }, 120);
  }

  load() {
    const words = new URLSearchParams(location.hash.slice(1));
    const number = (/** @type {string} */ name, /** @type {number} */ otherwise) =>
      words.has(name) && Number.isFinite(Number(words.get(name))) ? Number(words.get(name)) : otherwise;
    const pair = (/** @type {string} */ name) => {
      const two = (words.get(name) ?? "").split(",").map(Number);
      return two.length === 2 && two[0] >= 0 && two[1] > two[0] && two[1] <= this.wall * 1.001 ? /** @type {[number, number]} */ (two) : null;
    };
    this.filter = words.get("q") ?? "";
    this.state = number("s", -1);
    const tab = number("tab", this.first);
    this.tab = Number.isInteger(tab) && tab >= 0 && tab < this.tabs ? tab : this.first;
    this.roots[this.tab] = Math.max(0, Math.floor(number("f", 0)));
    this.scrolls[this.tab] = Math.max(0, Math.floor(number("y", 0)));
    const theme = words.get("theme") ?? "";
    this.theme = theme === "dark" || theme === "light" ? theme : "";
    this.shown.brush = pair("r");
    this.shown.cursor = Math.max(-1, Math.min(number("c", -1), this.wall));
    [this.shown.from, this.shown.to] = pair("t") ?? [0, this.wall];
    this.tell("rest");
  }
}
