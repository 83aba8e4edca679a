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

for (const [name, options] of Object.entries({light: {colorScheme: "light"}, dark: {colorScheme: "dark"},
  narrow: {viewport: {width: 390, height: 800}}})) {
  const page = await open(options);
  await page.screenshot({path: `${shots}/${name}.png`, fullPage: true});
  seen[`${name}_overflow`] = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  // As the tester's own scripts; the page's policy lets none in, so the check goes around it.
  const session = await page.context().newCDPSession(page);
  const source = require("node:fs").readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
  await session.send("Runtime.evaluate", {expression: source});
  seen.axe[name] = await page.evaluate(async () => (await axe.run()).violations.map((one) =>
    `${one.id}: ${one.nodes[0].html.slice(0, 120)}`));
  if (name === "light") {
    await page.emulateMedia({media: "print"});
    await page.screenshot({path: `${shots}/print.png`, fullPage: true});
  }
  await page.close();
}

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
if (await page.locator("select.state").count()) { // made-up runs have no stacks
  await page.selectOption("select.state", "0");
  seen.top = await page.locator(".stacks table").innerText();
  seen.frames = await page.locator(".flame button").count();
  await page.locator(".flame button").nth(1).click();
  seen.widened = await page.locator(".flame button").nth(0).innerText();
}
await page.click("#theme");
seen.theme = await page.evaluate(() => document.documentElement.dataset.theme);
const copy = page.locator(".copy:visible").first(); // of the shown tab, which need not have a fix
if (await copy.count()) {
  await copy.click();
  await page.waitForTimeout(100);
  seen.copied = await copy.innerText();
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
}
const again = await open({}, "#t=100.000,300.000&r=120.000,200.000&c=150&s=0&theme=dark&q=2");
seen.restored = await again.locator(".range").innerText();
const state = again.locator("select.state").first();
seen.restored_all = [await state.count() ? await state.inputValue() : "", await again.evaluate(() => document.documentElement.dataset.theme),
  await again.locator(".filter").first().inputValue(), await again.locator(".counters").first().innerText()];
await browser.close();
console.log(JSON.stringify(seen));
