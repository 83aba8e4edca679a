// page_hand.mjs MODULES FILE COARSE: a page by keys, wheel, fingers and its address, and what a down-sampled one says of itself; prints
// what it saw as JSON. The fingers are the browser's own touch input, so that it decides what scrolls and what is a drag.
import {createRequire} from "node:module";

const [modules, file, coarse] = process.argv.slice(2);
const {chromium} = createRequire(`${modules}/`)("playwright-core");
const browser = await chromium.launch({executablePath: "/usr/bin/chromium", args: ["--no-sandbox"]});
const seen = {messages: []};

async function open(hash = "", options = {}) {
  const context = await browser.newContext({viewport: {width: 1200, height: 900}, ...options});
  const page = await context.newPage();
  page.on("console", (one) => seen.messages.push(one.text()));
  page.on("pageerror", (one) => seen.messages.push(one.message));
  await page.goto(`file://${file}${hash}`);
  return page;
}
/** The view as the address has it, once it is written, a moment after the last step. */
async function view(page) {
  await page.waitForTimeout(250);
  const words = new URLSearchParams(new URL(page.url()).hash.slice(1));
  const span = (words.get("t") ?? "").split(",").map(Number);
  return {span, range: words.get("r"), scroll: Number(words.get("y") ?? 0), cursor: Number(words.get("c") ?? -1)};
}

const keys = await open();
const canvas = keys.locator(".lanes canvas");
await canvas.focus();
seen.keys = {};
for (const key of ["w", "s", "+", "-", "w", "a", "d", "0", "ArrowRight", "Shift+ArrowRight", "Escape", "ArrowDown", "ArrowDown", "ArrowUp"]) {
  await keys.keyboard.press(key);
  (seen.keys[key] ??= []).push(await view(keys));
}
/** Keys of the browser's own: whether one was left to it, and that nothing moved. */
seen.modified = [];
for (const key of ["a", "d", "s", "w", "0", "+", "ArrowLeft"]) {
  for (const modifier of ["ctrlKey", "metaKey", "altKey"]) {
    seen.modified.push(await canvas.evaluate((one, [key, modifier]) => one.dispatchEvent(new KeyboardEvent("keydown",
      {key, [modifier]: true, bubbles: true, cancelable: true})), [key, modifier]));
  }
}
seen.unmoved = await view(keys);
seen.drawn = await canvas.evaluate((one) => one.toDataURL());
await keys.keyboard.press("ArrowUp");
seen.drawn_unscrolled = await canvas.evaluate((one) => one.toDataURL());
const box = await canvas.boundingBox();
await keys.mouse.move(box.x + 600, box.y + 200);
await keys.keyboard.down("Shift");
await keys.mouse.wheel(0, 50);
await keys.keyboard.up("Shift");
seen.shift_wheel = await view(keys);
await keys.mouse.wheel(0, -400);
seen.wheel = await view(keys);
await keys.mouse.wheel(100, 0);
seen.across = await view(keys);
await keys.evaluate(() => { location.hash = "#t=500,1500&r=600,900&c=750&y=40"; });
await keys.waitForTimeout(100);
seen.named = [await view(keys), await keys.locator(".range h3").innerText(), await keys.locator(".counters").innerText()];
seen.drawn_named = await canvas.evaluate((one) => one.toDataURL());
await keys.close();

// The fix copied, with leave to write to the clipboard and without.
const copies = await open("", {permissions: ["clipboard-read", "clipboard-write"]});
const code = await copies.locator(".code code").first().textContent();
await copies.locator(".copy").first().click();
await copies.waitForTimeout(100);
seen.copied = [code, await copies.evaluate(() => navigator.clipboard.readText()), await copies.locator(".copy").first().innerText()];
await copies.evaluate(() => { navigator.clipboard.writeText = () => Promise.reject(new Error("no")); });
await copies.locator(".copy").first().click();
await copies.waitForTimeout(100);
seen.refused = [await copies.evaluate(() => `${getSelection()}`), await copies.locator(".copy").first().innerText()];
await copies.close();

const again = await open("#t=500,1500&r=600,900&c=750&y=40");
await again.waitForTimeout(100);
seen.drawn_again = await again.locator(".lanes canvas").evaluate((one) => one.toDataURL());
seen.clocks = {};
for (const ms of [0, 750, 1500, 3000]) {
  await again.locator("#scrub").evaluate((one, ms) => { one.value = ms; one.dispatchEvent(new Event("input")); }, ms);
  seen.clocks[ms] = await again.locator(".counters").innerText();
}
await again.close();

const touched = await open("", {hasTouch: true, isMobile: true, viewport: {width: 600, height: 700}});
const session = await touched.context().newCDPSession(touched);
const lanes = touched.locator(".lanes canvas");
await lanes.evaluate((one) => one.scrollIntoView({block: "start"}));
const at = await lanes.boundingBox();
/** Fingers put down, moved in steps and lifted: from and to are places of all of them. */
async function fingers(from, to) {
  const points = (share) => from.map(([x, y], id) => ({id, x: at.x + x + (to[id][0] - x) * share, y: at.y + y + (to[id][1] - y) * share}));
  await session.send("Input.dispatchTouchEvent", {type: "touchStart", touchPoints: points(0)});
  for (let step = 1; step <= 10; step++) {
    await session.send("Input.dispatchTouchEvent", {type: "touchMove", touchPoints: points(step / 10)});
    await touched.waitForTimeout(20);
  }
  await session.send("Input.dispatchTouchEvent", {type: "touchEnd", touchPoints: []});
  return {...await view(touched), page: await touched.evaluate(() => scrollY)};
}
seen.touch = {before: {page: await touched.evaluate(() => scrollY)}};
seen.touch.pinch = await fingers([[250, 120], [300, 120]], [[200, 120], [400, 120]]);
seen.touch.pan = await fingers([[400, 120]], [[300, 120]]);
seen.touch.up = await fingers([[300, 300]], [[300, 100]]);
seen.tabs = [];
for (const tab of ["0.5", "7", "-1", "x"]) {
  const odd = await open(`#tab=${tab}&y=20`);
  await odd.waitForTimeout(100);
  seen.tabs.push(await odd.locator("section.time .counters").isVisible());
  await odd.close();
}
const filtered = await open("#r=600,900&q=worker-1");
await filtered.waitForTimeout(100);
seen.filtered = await filtered.locator(".range").innerText();
await filtered.close();
const sampled = await browser.newPage();
await sampled.goto(`file://${coarse}`);
seen.hints = [await touched.locator("section.time .hint").innerText(), await sampled.locator("section.time .hint").innerText()];
await browser.close();
console.log(JSON.stringify(seen));
