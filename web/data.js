// data.js - the page's data block, decoded, and the sums that every view asks for.

/** @typedef {{from: Float64Array, to: Float64Array, code: Int32Array}} Lane pieces in order of time, in ms */
/** @typedef {{pid: number, tid: number, merged: number, name: string, lane: Lane}} Thread */
/** @typedef {{parent: number, frame: [string, string, number] | null, own: number[], rarer: number[]}} Stack `rarer`: in stacks that grew
 *   from it and are too rare to be told */
/** @typedef {{name: string, wall: number, cpu: number, speedup: number, base: string, usable: number, step: number, coarse: boolean,
 *   cpus: number, gils: Set<number>, threads: Thread[], stacks: Stack[], verdicts: [string, string, string, string, number][], judged: number[],
 *   computed: Float64Array, worked: Float64Array, busy: Busy}} Contender `worked`: computed, but for starting and pickling */
/** @typedef {{ends: number[], cpus: Map<number, number[]>, own: Map<number, number[]>}} Busy how busy CPUs were, in percent, up to
 *   each of `ends` (ms), and with the program's own threads: told of coarse runs, whose lanes do not say it to the stretch */

export const STATES = ["Python", "Waiting for the GIL", "Native code", "Waiting for a CPU", "Network and pipes",
  "Disk", "Lock", "Sleep", "Other waiting", "Not known"];
/** The looks: the states, then what a CPU did besides the program's own work. */
export const LOOK_NAMES = [...STATES, "Starting and imports", "Pickling and moving data", "Another program"];
export const STARTING = 10;
export const PICKLING = 11;
export const OTHERS = 12;
export const PYTHON = 0;
export const GIL_WAIT = 1;
export const NATIVE = 2;
export const NO_CPU = 3;

export const stateOf = (/** @type {number} */ code) => code % 10;
export const activityOf = (/** @type {number} */ code) => Math.floor(code / 10) % 5;
export const cpuOf = (/** @type {number} */ code) => Math.floor(code / 50) - 1;

/** What a piece looks like: its state, or what a CPU was used for besides work. @param {number} code */
export function lookOf(code) {
  const state = stateOf(code);
  const activity = activityOf(code);
  if ((state !== PYTHON && state !== NATIVE) || activity === 0) return state;
  return activity <= 2 ? STARTING : PICKLING;
}

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

const BINS = 2000; // of the counters

/** CPU-ms of all threads up to the start of each bin, so that a counter costs one look. @param {Thread[]} threads @param {number} wall
 * @param {(code: number) => boolean} counts */
function computedBy(threads, wall, counts) {
  const sum = new Float64Array(BINS + 2);
  const width = wall / BINS || 1;
  for (const {lane} of threads) {
    for (let i = 0; i < lane.from.length; i++) {
      if (!counts(lane.code[i])) continue;
      for (let bin = Math.floor(lane.from[i] / width); bin < BINS && bin * width < lane.to[i]; bin++) {
        sum[bin + 1] += Math.min(lane.to[i], (bin + 1) * width) - Math.max(lane.from[i], bin * width);
      }
    }
  }
  for (let bin = 1; bin < sum.length; bin++) sum[bin] += sum[bin - 1];
  return sum;
}

/** CPU-ms used up to `ms`, or those of `sums`; at the end it is the kernel's total. @param {Contender} run @param {number} ms */
export function cpuAt(run, ms, sums = run.computed) {
  const at = Math.max(0, Math.min(ms / (run.wall || 1), 1)) * BINS;
  const bin = Math.floor(at);
  const told = sums[bin] + (sums[bin + 1] - sums[bin]) * (at - bin);
  return run.computed[BINS] > 0 ? told / run.computed[BINS] * run.cpu : 0;
}

/** How many times as fast as its base a run is up to `ms`; 0: not to be told. At its end that is the measured figure;
 * before it, the share of its CPU time that it has used against the time that its base took for such a share: told of
 * runs that compute, since waiting uses none. Of a run that nobody raced the base is one core that does the same work
 * by itself, without what it costs to share it out. @param {Contender} run @param {number} ms */
export function speedAt(run, ms) {
  if (run.speedup > 0 && ms >= run.wall) return run.speedup;
  if (ms <= 0 || run.cpu < run.wall / 2) return 0;
  return run.base ? run.speedup * (cpuAt(run, ms) / run.cpu) / (ms / run.wall) : cpuAt(run, ms, run.worked) / ms;
}

/** @param {number[]} [pairs] state, ms */
function byState(pairs = []) {
  const all = new Array(STATES.length).fill(0);
  for (let i = 0; i < pairs.length; i += 2) all[pairs[i]] += pairs[i + 1];
  return all;
}

/** @param {any} raw @param {string} base the run that its speed-up is told against; "": none @returns {Contender} */
export function decode(raw, base) {
  /** @type {Thread[]} */
  const threads = raw.threads.map((/** @type {any} */ one) => ({...one, lane: decodeLane(one.lane, raw.step_ms)}));
  return {
    computed: computedBy(threads, raw.wall_ms, (code) => [PYTHON, NATIVE].includes(stateOf(code))),
    worked: computedBy(threads, raw.wall_ms, (code) => [PYTHON, NATIVE].includes(lookOf(code))),
    cpus: raw.cpus, verdicts: raw.verdicts, judged: raw.judged, name: raw.name, wall: raw.wall_ms, cpu: raw.cpu_ms,
    speedup: raw.speedup, base, usable: raw.usable, step: raw.step_ms, coarse: raw.coarse,
    threads, gils: new Set(raw.gils),
    busy: {ends: raw.busy.ends, cpus: new Map(raw.busy.cpus.map((/** @type {number[]} */ [cpu, ...shares]) => [cpu, shares])),
      own: new Map(raw.busy.own.map((/** @type {number[]} */ shares, /** @type {number} */ i) => [raw.busy.cpus[i][0], shares]))},
    stacks: raw.stacks.map((/** @type {any} */ one) => ({parent: one.p, frame: raw.frames[one.f] ?? null, own: byState(one.s), rarer: byState(one.o)})),
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

/** Times at which a thread was ready and had no CPU: all CPUs that none of ours used ran something else then.
 * @param {Thread[]} threads @returns {[number, number][]} apart, in order */
function crowded(threads) {
  /** @type {[number, number][]} */
  const found = [];
  for (const {lane} of threads) {
    for (let i = 0; i < lane.from.length; i++) if (stateOf(lane.code[i]) === NO_CPU) found.push([lane.from[i], lane.to[i]]);
  }
  found.sort((a, b) => a[0] - b[0]);
  /** @type {[number, number][]} */
  const apart = [];
  for (const [from, to] of found) {
    const last = apart[apart.length - 1];
    if (last && from <= last[1]) last[1] = Math.max(last[1], to);
    else apart.push([from, to]);
  }
  return apart;
}

/** ms of `pieces`, which are apart and in order, in each stretch up to one of `ends`. @param {[number, number, number][]} pieces
 * @param {number[]} ends */
function within(pieces, ends) {
  let at = 0;
  return ends.map((to, i) => {
    const from = i ? ends[i - 1] : 0;
    let sum = 0;
    while (at < pieces.length && pieces[at][1] <= from) at++;
    for (let k = at; k < pieces.length && pieces[k][0] < to; k++) sum += Math.min(pieces[k][1], to) - Math.max(pieces[k][0], from);
    return sum;
  });
}

/** When other programs had a CPU: those stretches, known by the kernel's clock, in which they used most of what the program's
 * own threads left; in which they used some, only while a thread of ours was ready. Without a clock: the latter.
 * @param {Busy} busy @param {number} cpu @param {[number, number, number][]} pieces @param {[number, number][]} ready */
function foreign({ends, cpus, own}, cpu, pieces, ready) {
  const shares = cpus.get(cpu);
  if (!shares) return ready;
  /** @type {[number, number][]} */
  const spans = [];
  const ours = own.get(cpu)?.map((share, i) => share / 100 * (ends[i] - (i ? ends[i - 1] : 0))) ?? within(pieces, ends);
  let at = 0;
  ends.forEach((to, i) => {
    const from = i ? ends[i - 1] : 0;
    const others = shares[i] / 100 * (to - from) - ours[i];
    while (at < ready.length && ready[at][1] <= from) at++;
    if (others >= (to - from - ours[i]) / 2) spans.push([from, to]);
    else if (others >= (to - from) / 10) {
      for (let k = at; k < ready.length && ready[k][0] < to; k++) spans.push([Math.max(ready[k][0], from), Math.min(ready[k][1], to)]);
    }
  });
  return spans;
}

/** @param {[number, number, number][]} pieces @returns {Lane} */
function laneOf(pieces) {
  return {from: Float64Array.from(pieces, (one) => one[0]), to: Float64Array.from(pieces, (one) => one[1]),
    code: Int32Array.from(pieces, (one) => one[2])};
}

/** What is left of `spans` beside `pieces`, as pieces of another program. @param {[number, number, number][]} pieces
 * @param {[number, number][]} spans */
function fill(pieces, spans) {
  /** @type {[number, number, number][]} */
  const all = [];
  let at = 0;
  for (let [from, to] of spans) {
    while (at < pieces.length && pieces[at][1] <= from) at++;
    for (let i = at; i < pieces.length && pieces[i][0] < to; i++) {
      if (pieces[i][0] > from) all.push([from, pieces[i][0], -1]);
      from = Math.max(from, pieces[i][1]);
    }
    if (from < to) all.push([from, to, -1]);
  }
  return [...pieces, ...all].sort((a, b) => a[0] - b[0]);
}

/** One lane a usable CPU: what the threads that ran there did; code -1 where another program had it.
 * @param {Contender} run @returns {{label: string, lane: Lane}[]} */
export function cores(run) {
  /** @type {Map<number, [number, number, number][]>} */
  const found = new Map();
  for (const cpu of run.busy.cpus.size ? run.busy.cpus.keys() : Array(run.cpus).keys()) found.set(cpu, []); // CPUs may be missing in between
  for (const {lane} of run.threads) {
    for (let i = 0; i < lane.from.length; i++) {
      const cpu = cpuOf(lane.code[i]);
      const state = stateOf(lane.code[i]);
      if (cpu < 0 || (state !== PYTHON && state !== NATIVE)) continue;
      const pieces = found.get(cpu) ?? [];
      found.set(cpu, pieces);
      pieces.push([lane.from[i], lane.to[i], lane.code[i]]);
    }
  }
  const spans = crowded(run.threads);
  const rows = [...found].sort((a, b) => a[0] - b[0]).map(([cpu, pieces]) => {
    pieces.sort((a, b) => a[0] - b[0]);
    return {label: `CPU ${cpu}`, lane: laneOf(fill(pieces, foreign(run.busy, cpu, pieces, spans)))};
  });
  while (rows.length < Math.min(run.usable, 256)) rows.push({label: "a further CPU", lane: laneOf(fill([], spans))});
  return rows;
}

/** Who held a process's GIL: its threads' Python pieces as one band. Nobody holds it before the one before let go, as samples
 * and steps may have it. @param {Thread[]} threads @returns {Lane} */
export function holders(threads) {
  /** @type {[number, number, number][]} */
  const pieces = [];
  for (const {lane} of threads) {
    for (let i = 0; i < lane.from.length; i++) {
      if (stateOf(lane.code[i]) === PYTHON) pieces.push([lane.from[i], lane.to[i], lane.code[i]]);
    }
  }
  let last = 0;
  for (const one of pieces.sort((a, b) => a[0] - b[0])) {
    one[0] = Math.max(one[0], last);
    last = Math.max(one[1], last);
  }
  return laneOf(pieces.filter(([from, to]) => from < to));
}

/** The judged range nearest to one that was taken; null where none is near. @param {Contender} run @param {number} from @param {number} to */
export function verdictOf(run, from, to) {
  let best = -1;
  let least = (to - from) * 0.4;
  for (let i = 0; i < run.verdicts.length; i++) {
    const off = Math.abs(run.judged[2 * i] - from) + Math.abs(run.judged[2 * i + 1] - to);
    if (off < least) [best, least] = [i, off];
  }
  if (best < 0) return null;
  const [id, confidence, sentence, evidence] = run.verdicts[best];
  return {from: run.judged[2 * best], to: run.judged[2 * best + 1], id, confidence, sentence, evidence};
}

export const seconds = (/** @type {number} */ ms) => ms < 1000 ? `${ms.toFixed(1)} ms` : `${(ms / 1000).toFixed(2)} s`;

/** @param {string} tag @param {Record<string, string>} [attributes] @param {...(Node | string)} children */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}
