// lanes.js - cores and threads over time on one canvas. Only rows in sight are drawn, and of each row no more
// pieces than it has pixels.
import {LOOK_NAMES, PYTHON, STARTING, NATIVE, OTHERS, lookOf, firstAfter} from "./data.js";

export const ROW = 20;
export const AXIS = 24;

/** A look's colour (Okabe-Ito) and the pattern besides, as the page's bars have them. @param {number} look */
export function tile(look) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 8;
  const c = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const [plain, mark] = /** @type {Element} */ (document.getElementById(`p${look}`)).children;
  c.fillStyle = getComputedStyle(plain).fill;
  c.fillRect(0, 0, 8, 8);
  c.strokeStyle = getComputedStyle(mark).stroke;
  c.stroke(new Path2D(mark.getAttribute("d") ?? ""));
  return canvas;
}

/** @typedef {{label: string, lane: import("./data.js").Lane, core: boolean, head?: boolean, gil?: boolean}} Row `head`: of the rows below it; `gil`: the band of
 * who holds it */
/** @typedef {{from: number, to: number, cursor: number, brush: [number, number] | null, mask: boolean}} View */

export class Lanes {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    this.c = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    this.fills = LOOK_NAMES.map((_, look) => /** @type {CanvasPattern} */ (this.c.createPattern(tile(look), "repeat")));
    this.labels = 130;
    this.width = this.height = 0;
  }

  resize(/** @type {number} */ width, /** @type {number} */ height) {
    const ratio = window.devicePixelRatio || 1;
    [this.width, this.height] = [width, height];
    this.labels = width < 500 ? 84 : 150;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    this.canvas.style.width = `${width}px`;
    this.canvas.style.height = `${height}px`;
    this.c.setTransform(ratio, 0, 0, ratio, 0, 0);
  }

  /** @param {View} view @param {number} ms */
  x(view, ms) {
    return this.labels + (ms - view.from) / (view.to - view.from) * (this.width - this.labels);
  }

  /** @param {View} view @param {number} x */
  ms(view, x) {
    return view.from + (x - this.labels) / (this.width - this.labels) * (view.to - view.from);
  }

  /** @param {Row[]} rows @param {View} view @param {number} scroll @param {{ink: string, faint: string, paper: string}} colors */
  draw(rows, view, scroll, colors) {
    const {c, width, height} = this;
    c.clearRect(0, 0, width, height);
    c.font = "12px system-ui, sans-serif";
    c.textBaseline = "middle";
    const first = Math.floor(scroll / ROW);
    for (let i = first; i < rows.length && AXIS + i * ROW - scroll < height; i++) {
      this.row(rows[i], view, AXIS + i * ROW - scroll, colors);
    }
    if (view.to - view.from < 2000) {
      for (let i = 0; i < rows.length; i++) {
        if (rows[i].gil && AXIS + i * ROW - scroll < height) this.hops(rows, i, view, scroll, colors.ink);
      }
    }
    if (view.mask) { // what has not happened yet, while the run is played
      c.fillStyle = colors.paper;
      const now = Math.max(this.labels, this.x(view, view.cursor));
      c.globalAlpha = 0.85;
      c.fillRect(now, AXIS, width - now, height);
      c.globalAlpha = 1;
    }
    this.axis(view, colors);
    if (view.brush) {
      const [from, to] = view.brush.map((ms) => Math.max(this.labels, this.x(view, ms)));
      c.fillStyle = "rgba(127,127,127,.28)";
      c.fillRect(from, 0, to - from, height);
    }
    const x = this.x(view, view.cursor);
    if (x >= this.labels) {
      c.fillStyle = colors.ink;
      c.fillRect(Math.round(x), 0, 1, height);
    }
  }

  /** A line from holder to holder of a GIL, where hops are far enough apart to be seen.
   * @param {Row[]} rows @param {number} head the row of the band @param {View} view @param {number} scroll @param {string} ink */
  hops(rows, head, view, scroll, ink) {
    const {c} = this;
    const scale = (this.width - this.labels) / (view.to - view.from);
    /** @type {[number, number, number][]} */
    const turns = [];
    for (let r = head + 1; r < rows.length && !rows[r].head && turns.length < 2000; r++) {
      const {lane} = rows[r];
      for (let i = firstAfter(lane, view.from); i < lane.from.length && lane.from[i] < view.to && turns.length < 2000; i++) {
        if (lane.code[i] % 10 === PYTHON) turns.push([lane.from[i], lane.to[i], r]);
      }
    }
    if (turns.length * 6 > this.width) return;
    turns.sort((a, b) => a[0] - b[0]);
    c.fillStyle = ink;
    for (let i = 1; i < turns.length; i++) {
      const [a, b] = [turns[i - 1][2], turns[i][2]];
      const x = this.labels + (turns[i][0] - view.from) * scale;
      if (a === b || x < this.labels) continue;
      const top = AXIS + Math.min(a, b) * ROW - scroll + ROW / 2;
      c.fillRect(x - 0.5, top, 1, Math.abs(a - b) * ROW);
    }
  }

  /** @param {Row} row @param {View} view @param {number} y @param {{ink: string, faint: string}} colors */
  row(row, view, y, colors) {
    const {c} = this;
    c.fillStyle = colors.faint;
    c.fillRect(this.labels, y + 2, this.width - this.labels, row.core ? ROW - 4 : 1);
    const {lane} = row;
    const scale = (this.width - this.labels) / (view.to - view.from);
    let i = firstAfter(lane, view.from);
    while (i < lane.from.length && lane.from[i] < view.to) {
      const from = this.labels + Math.max(0, lane.from[i] - view.from) * scale;
      const to = Math.min(this.width, this.labels + (lane.to[i] - view.from) * scale);
      const look = lane.code[i] < 0 ? OTHERS : lookOf(lane.code[i]);
      c.fillStyle = this.fills[look];
      // Who holds the GIL fills the row; who waits is a thinner band: the holder is seen to hop.
      const on = row.core || look === PYTHON || look === NATIVE || look >= STARTING;
      c.fillRect(from, y + (on ? 2 : 6), Math.max(to - from, 0.6), on ? ROW - 4 : ROW - 12);
      // The next piece that reaches another pixel.
      if (to - from < 1) {
        const next = firstAfter(lane, view.from + (from + 1 - this.labels) / scale);
        i = next > i ? next : i + 1;
      } else {
        i++;
      }
    }
    c.fillStyle = colors.ink;
    c.textAlign = "left";
    c.fillText(this.fit(row.label), 4, y + ROW / 2);
  }

  /** A label in the room there is: what is cut is the name, not the number after it. @param {string} label */
  fit(label) {
    const room = this.labels - 8;
    if (this.c.measureText(label).width <= room) return label;
    const tail = /\d*$/.exec(label)?.[0] ?? "";
    let name = label.slice(0, label.length - tail.length);
    while (name && this.c.measureText(`${name}…${tail}`).width > room) name = name.slice(0, -1);
    return `${name}…${tail}`;
  }

  /** @param {View} view @param {{ink: string, faint: string, paper: string}} colors */
  axis(view, colors) {
    const {c} = this;
    c.fillStyle = colors.paper;
    c.fillRect(0, 0, this.width, AXIS);
    const rough = (view.to - view.from) / Math.max(2, (this.width - this.labels) / 90);
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = power * ([1, 2, 5, 10].find((one) => one * power >= rough) ?? 10);
    c.fillStyle = colors.ink;
    c.textAlign = "center";
    for (let at = Math.ceil(view.from / step) * step; at <= view.to; at += step) {
      const x = this.x(view, at);
      const text = step >= 100 ? `${(at / 1000).toFixed(step >= 1000 ? 0 : 1)} s` : `${at.toFixed(step >= 1 ? 0 : 2)} ms`;
      c.fillRect(x, AXIS - 5, 1, 5);
      if (x < this.width - 16) c.fillText(text, Math.max(x, this.labels + 10), AXIS / 2 - 3);
    }
  }
}
