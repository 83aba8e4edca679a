// page.mjs - drives a page in Chromium: page.mjs MODULES FILE SHOTS; prints what it saw as JSON.
import {createRequire} from "node:module";

const [modules, file, shots] = process.argv.slice(2);
const require = createRequire(`${modules}/`);
const {chromium} = require("playwright-core");
const browser = await chromium.launch({executablePath: "/usr/bin/chromium", args: ["--no-sandbox"]});
const seen = {messages: [], requests: [], axe: {}};
const url = `file://${file}`;

async function open(options = {}, hash = "") {
  const page = await browser.newPage({viewport: {width: 1200, height: 900}, ...options});
  page.on("console", (one) => seen.messages.push(one.text()));
  page.on("pageerror", (one) => seen.messages.push(one.message));
  page.on("dialog", (one) => { seen.messages.push(`dialog ${one.message()}`); one.dismiss(); });
  page.on("request", (one) => one.url().split("#")[0] !== url && seen.requests.push(one.url()));
  await page.goto(url + hash);
  return page;
}
const hash = async (page) => {
  await page.waitForTimeout(250); // the view is written a moment after the last step
  return decodeURIComponent(new URL(page.url()).hash);
};
const span = async (page) => {
  const [from, to] = /t=([^&]*)/.exec(await hash(page))[1].split(",").map(Number);
  return [from, to];
};

/** What a picture shows: its size, its corner's shade, the share of its commonest colour and how many it has. */
async function look(path) {
  const page = await browser.newPage();
  const stats = await page.evaluate(async (bytes) => {
    const image = await createImageBitmap(new Blob([Uint8Array.from(atob(bytes), (one) => one.charCodeAt(0))]));
    const c = new OffscreenCanvas(image.width, image.height).getContext("2d");
    c.drawImage(image, 0, 0);
    const words = new Uint32Array(c.getImageData(0, 0, image.width, image.height).data.buffer);
    const count = new Map();
    for (const word of words) count.set(word, (count.get(word) ?? 0) + 1);
    return {width: image.width, height: image.height, corner: words[0] & 255, colours: count.size,
      commonest: Math.max(...count.values()) / words.length};
  }, require("node:fs").readFileSync(path, "base64"));
  await page.close();
  return stats;
}
/** Runs axe as the tester's own script; the page's policy lets none in, so it goes around it. */
async function axe(page) {
  const session = await page.context().newCDPSession(page);
  const source = require("node:fs").readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
  await session.send("Runtime.evaluate", {expression: source});
  return page.evaluate(async () => (await axe.run()).violations.map((one) => `${one.id}: ${one.nodes[0].html.slice(0, 120)}`));
}

for (const [name, options] of Object.entries({light: {colorScheme: "light"}, dark: {colorScheme: "dark"},
  narrow: {viewport: {width: 390, height: 800}}})) {
  const page = await open(options);
  await page.screenshot({path: `${shots}/${name}.png`, fullPage: true});
  seen[`${name}_overflow`] = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  seen.axe[name] = await axe(page);
  if (name === "light") {
    await page.emulateMedia({media: "print"});
    await page.waitForFunction(() => document.documentElement.dataset.theme === "light");
    await page.screenshot({path: `${shots}/print.png`, fullPage: true});
    seen.axe.print = await axe(page);
  }
  await page.close();
}

seen.shots = {};
for (const name of ["light", "dark", "narrow", "print"]) seen.shots[name] = await look(`${shots}/${name}.png`);

// With all that can be opened open: a range, the tables, another tab.
const opened = await open({}, "#r=100,900&c=500&f=1");
for (const one of await opened.locator("summary").all()) if (await one.isVisible()) await one.click();
seen.axe.opened = await axe(opened);
if (await opened.locator("[role=tab]").count()) {
  await opened.locator("[role=tab]").nth(1).click();
  seen.axe.tab = await axe(opened);
}
await opened.close();

// What the policy stops, were something hostile to get in after all.
const hostile = await browser.newPage();
await hostile.goto(url);
seen.stopped = await hostile.evaluate(async () => {
  const stopped = new Set();
  document.addEventListener("securitypolicyviolation", (event) => stopped.add(event.effectiveDirective));
  window.ran = 0;
  await fetch("https://example.invalid/").catch(() => {});
  document.body.insertAdjacentHTML("beforeend", `<img src="https://example.invalid/x.png" onerror="window.ran = 1"><iframe src="https://example.invalid/"></iframe><b style="color: red">b</b>`);
  const script = document.createElement("script");
  script.textContent = "window.ran = 2";
  document.body.append(script);
  await new Promise((done) => setTimeout(done, 300));
  return [...stopped, `ran ${window.ran}`].sort();
});
await hostile.close();

const plain = await open({javaScriptEnabled: false});
seen.without_script = await plain.locator("main").innerText();

const page = await open();
seen.first = await page.locator("[role=tab][aria-selected=true]").allInnerTexts();
seen.first_top = await page.locator(".run:visible .stacks").allInnerTexts();
const canvas = page.locator(".lanes canvas");
const box = await canvas.boundingBox();
const [x, y] = [box.x + box.width * 0.6, box.y + 60];
await page.mouse.move(x, y);
seen.cursor = await page.locator(".counters").innerText();
await page.mouse.wheel(0, -400);
seen.wheel = await span(page);
await page.mouse.down();
await page.mouse.move(x - 100, y, {steps: 4});
await page.mouse.up();
seen.drag = await span(page);
await page.keyboard.down("Shift");
await page.mouse.move(x - 150, y);
await page.mouse.down();
await page.mouse.move(x, y, {steps: 4});
await page.mouse.up();
await page.keyboard.up("Shift");
seen.brush = await hash(page);
seen.range = await page.locator(".range").innerText();
await page.fill(".filter", "no such thread");
seen.filter = await hash(page);
seen.no_threads = (await canvas.boundingBox()).height;
await page.fill(".filter", "");
seen.all_threads = (await canvas.boundingBox()).height;
await page.click(".whole");
seen.whole = await span(page);
await canvas.focus();
await page.keyboard.press("+");
seen.plus = await span(page);
await page.keyboard.press("d");
seen.d = await span(page);
await page.keyboard.press("ArrowRight");
seen.live = await page.locator("[aria-live]").innerText();
await page.keyboard.press("Shift+ArrowRight");
seen.key_range = await page.locator(".range").innerText();
if (await page.locator("select.state").count()) {
  seen.tops = {}; // the top lines by state
  for (const value of await page.locator("select.state option").evaluateAll((all) => all.map((one) => one.value))) {
    await page.selectOption("select.state", value);
    seen.tops[value] = await page.locator(".stacks tbody tr").evaluateAll((rows) => rows.map((row) => [...row.cells].map((cell) => cell.textContent)));
  }
  await page.selectOption("select.state", "0");
  seen.frames = await page.locator(".flame button").count();
  await page.locator(".flame button").nth(1).click();
  seen.widened = await page.locator(".flame button").nth(0).innerText();
  seen.widened_hash = await hash(page);
  const reopened = await open({}, seen.widened_hash);
  seen.widened_again = await reopened.locator(".flame button").nth(0).innerText();
  await reopened.close();
  await page.locator(".flame button").nth(0).click();
  seen.widened_back = await page.locator(".flame button").nth(0).innerText();
}
seen.theme = []; // from light, two clicks
for (let i = 0; i < 3; i++) {
  seen.theme.push(await page.evaluate(() => [document.documentElement.dataset.theme ?? "", getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]));
  await page.click("#theme");
}
// Without Shift: on the scale, or anywhere once the mode says so; with fingers.
await page.click(".whole");
const top = await canvas.boundingBox();
await page.mouse.move(top.x + 400, top.y + 8);
await page.mouse.down();
await page.mouse.move(top.x + 800, top.y + 8, {steps: 4});
await page.mouse.up();
seen.scale_range = await page.locator(".range").innerText();
await page.click(".mode");
const finger = (type, id, x) => canvas.evaluate((one, [type, id, x]) => {
  const box = one.getBoundingClientRect();
  one.setPointerCapture = () => {};
  one.dispatchEvent(new PointerEvent(type, {pointerId: id, pointerType: "touch", clientX: box.left + x, clientY: box.top + 60, bubbles: true}));
}, [type, id, x]);
for (const [type, x] of [["pointerdown", 300], ["pointermove", 400], ["pointermove", 500], ["pointerup", 500]]) await finger(type, 11, x);
seen.touch_range = await page.locator(".range h3").innerText();
await page.click(".mode");
await page.click(".whole");
for (const [type, id, x] of [["pointerdown", 21, 500], ["pointerdown", 22, 600], ["pointermove", 22, 800], ["pointerup", 21, 500], ["pointerup", 22, 800]]) await finger(type, id, x);
seen.pinch = await span(page);
await page.click(".whole");
await page.locator("#scrub").evaluate((one) => { one.value = one.max / 2; one.dispatchEvent(new Event("input")); });
seen.scrubbed = await page.locator(".counters").first().innerText();
await page.locator("#scrub").evaluate((one) => { one.value = 0; one.dispatchEvent(new Event("input")); });
await page.click("#play");
await page.waitForTimeout(500);
seen.playing = [await page.locator("#play").innerText(), Number(await page.locator("#scrub").inputValue())];
await page.click("#play");
seen.paused = await page.locator("#play").innerText();
seen.tabs = await page.locator("[role=tab]").count();
if (seen.tabs) {
  await page.locator("[role=tab]").nth(1).click();
  seen.tab = [await hash(page), await page.locator(".run:visible").count(), await page.locator(".run:visible .name").innerText()];
  await page.locator("[role=tab]").nth(1).press("ArrowLeft");
  seen.tab_key = await page.locator(".run:visible .name").innerText();
  seen.heights = []; // of the lanes: a row more where a GIL's holders have one
  for (let i = 0; i < seen.tabs; i++) {
    await page.locator("[role=tab]").nth(i).click();
    const shown = page.locator(".lanes canvas:visible");
    seen.heights.push(await shown.count() ? (await shown.boundingBox()).height : 0);
  }
  await page.locator("#scrub").evaluate((one) => { one.value = one.max; one.dispatchEvent(new Event("input")); });
  await page.waitForTimeout(100);
  seen.clocks = await page.locator(".clock").allInnerTexts();
  // Midway between the first to finish and the last.
  seen.midway = await page.locator("#scrub").evaluate((one) => {
    const walls = JSON.parse(document.getElementById("data").textContent).contenders.flatMap((run) => run ? [run.wall_ms] : []);
    one.value = (Math.min(...walls) + Math.max(...walls)) / 2;
    one.dispatchEvent(new Event("input"));
    return Number(one.value);
  });
  await page.waitForTimeout(100);
  seen.clocks_midway = await page.locator(".clock").allInnerTexts();
}
seen.core_tables = await page.locator(".core-table").evaluateAll((tables) => tables.map((table) =>
  [...table.rows].slice(1).map((row) => [...row.cells].map((cell) => cell.textContent))));
const again = await open({}, "#t=100.000,300.000&r=120.000,200.000&c=150&s=0&theme=dark&q=2");
seen.restored = await again.locator(".range").innerText();
const state = again.locator("select.state").first();
seen.restored_all = [await state.count() ? await state.inputValue() : "", await again.evaluate(() => document.documentElement.dataset.theme),
  await again.locator(".filter").first().inputValue(), await again.locator(".counters").first().innerText()];
await browser.close();
console.log(JSON.stringify(seen));
