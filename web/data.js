// data.js - the page's data block, decoded, and the sums that every view asks for.

/** @typedef {{from: Float64Array, to: Float64Array, code: Int32Array}} Lane pieces in order of time, in ms */
/** @typedef {{pid: number, tid: number, merged: number, name: string, lane: Lane}} Thread */
/** @typedef {{parent: number, frame: [string, string, number] | null, own: number[]}} Stack */
/** @typedef {{name: string, wall: number, cpu: number, usable: number, step: number, coarse: boolean,
 *   threads: Thread[], stacks: Stack[]}} Contender */

export const STATES = ["Python", "Waiting for the GIL", "Native code", "Waiting for a CPU", "Network and pipes",
  "Disk", "Lock", "Sleep", "Other waiting", "Not known"];
export const PYTHON = 0;
export const NATIVE = 2;

export const stateOf = (/** @type {number} */ code) => code % 10;
export const activityOf = (/** @type {number} */ code) => Math.floor(code / 10) % 5;
export const cpuOf = (/** @type {number} */ code) => Math.floor(code / 50) - 1;

/** @param {number[]} flat @param {number} step @returns {Lane} */
function decodeLane(flat, step) {
  const count = flat.length / 3;
  const lane = {from: new Float64Array(count), to: new Float64Array(count), code: new Int32Array(count)};
  let at = 0;
  for (let i = 0; i < count; i++) {
    at += flat[3 * i];
    lane.from[i] = at * step;
    at += flat[3 * i + 1];
    lane.to[i] = at * step;
    lane.code[i] = flat[3 * i + 2];
  }
  return lane;
}

/** @param {any} raw @returns {Contender} */
export function decode(raw) {
  return {
    name: raw.name, wall: raw.wall_ms, cpu: raw.cpu_ms, usable: raw.usable, step: raw.step_ms, coarse: raw.coarse,
    threads: raw.threads.map((/** @type {any} */ one) => ({...one, lane: decodeLane(one.lane, raw.step_ms)})),
    stacks: raw.stacks.map((/** @type {any} */ one) => {
      const own = new Array(STATES.length).fill(0);
      for (let i = 0; i < one.s.length; i += 2) own[one.s[i]] += one.s[i + 1];
      return {parent: one.p, frame: one.f, own};
    }),
  };
}

/** Index of the first piece that ends after `ms`. @param {Lane} lane @param {number} ms */
export function firstAfter(lane, ms) {
  let low = 0;
  let high = lane.to.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (lane.to[middle] > ms) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** ms by state in a range. @param {Thread[]} threads @param {number} from @param {number} to */
export function sums(threads, from, to) {
  const total = new Array(STATES.length).fill(0);
  for (const {lane} of threads) {
    for (let i = firstAfter(lane, from); i < lane.from.length && lane.from[i] < to; i++) {
      total[stateOf(lane.code[i])] += Math.min(lane.to[i], to) - Math.max(lane.from[i], from);
    }
  }
  return total;
}

/** One lane a CPU, made of the threads that ran there. @param {Thread[]} threads @returns {{cpu: number, lane: Lane}[]} */
export function cores(threads) {
  /** @type {Map<number, [number, number, number][]>} */
  const found = new Map();
  for (const {lane} of threads) {
    for (let i = 0; i < lane.from.length; i++) {
      const cpu = cpuOf(lane.code[i]);
      const state = stateOf(lane.code[i]);
      if (cpu < 0 || (state !== PYTHON && state !== NATIVE)) continue;
      const pieces = found.get(cpu) ?? [];
      found.set(cpu, pieces);
      pieces.push([lane.from[i], lane.to[i], lane.code[i]]);
    }
  }
  return [...found].sort((a, b) => a[0] - b[0]).map(([cpu, pieces]) => {
    pieces.sort((a, b) => a[0] - b[0]);
    return {cpu, lane: {from: Float64Array.from(pieces, (one) => one[0]), to: Float64Array.from(pieces, (one) => one[1]),
      code: Int32Array.from(pieces, (one) => one[2])}};
  });
}

export const seconds = (/** @type {number} */ ms) => ms < 1000 ? `${ms.toFixed(1)} ms` : `${(ms / 1000).toFixed(2)} s`;

/** @param {string} tag @param {Record<string, string>} [attributes] @param {...(Node | string)} children */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}
