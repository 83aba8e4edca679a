// page_figures.mjs - page_figures.mjs MODULES FILE: what a page's bars and tables say, a click on a phase, less motion, paper;
// prints what it saw as JSON.
import {createRequire} from "node:module";

const [modules, file] = process.argv.slice(2);
const {chromium} = createRequire(`${modules}/`)("playwright-core");
const browser = await chromium.launch({executablePath: "/usr/bin/chromium", args: ["--no-sandbox"]});
const seen = {messages: []};

async function open(options = {}) {
  const page = await browser.newPage({viewport: {width: 1200, height: 900}, ...options});
  page.on("console", (one) => seen.messages.push(one.text()));
  page.on("pageerror", (one) => seen.messages.push(one.message));
  await page.goto(`file://${file}`);
  return page;
}
/** Every place that the run shows while it plays for `ms`. */
const play = (page, ms) => page.evaluate(async (ms) => {
  const scrub = document.getElementById("scrub");
  const values = [];
  scrub.value = 0;
  scrub.dispatchEvent(new Event("input"));
  document.getElementById("play").click();
  for (const until = performance.now() + ms; performance.now() < until;) {
    await new Promise((done) => requestAnimationFrame(done));
    if (values.at(-1) !== Number(scrub.value)) values.push(Number(scrub.value));
  }
  document.getElementById("play").click();
  return values;
}, ms);

const page = await open();
// Each look as the bars fill it and as the lanes' legend draws it.
seen.bars = await page.evaluate(() => [...document.querySelectorAll("rect[fill]")].map((one) => {
  const [plain, mark] = document.querySelector(/url\((.*)\)/.exec(one.getAttribute("fill"))[1]).children;
  return {in: one.parentElement.getAttribute("class"), color: getComputedStyle(plain).fill, mark: mark.getAttribute("d"),
    stroke: getComputedStyle(mark).stroke, share: parseFloat(one.getAttribute("width"))};
}));
seen.marks = await page.evaluate(() => [...document.querySelectorAll("pattern path")].map((one) => one.getAttribute("d")));
seen.tiles = await page.evaluate(() => [...document.querySelectorAll(".legend canvas")].map((one) => one.toDataURL()));
seen.cores = await page.locator(".cores tbody tr").evaluateAll((rows) => rows.map((row) => [...row.cells].map((cell) => cell.innerText)));
seen.capacity = await page.locator(".cores p").innerText();
const phases = page.locator("button.phase");
seen.phases = [];
for (let i = 0; i < await phases.count(); i++) {
  await phases.nth(i).click();
  await page.waitForTimeout(250); // the view is written a moment after the last step
  seen.phases.push({label: await phases.nth(i).innerText(), hash: decodeURIComponent(new URL(page.url()).hash),
    range: await page.locator(".range").innerText()});
}
// Of each core's lane the shares of its pixels: the program's own Python (blue), others (grey and its hatching). Everything
// but the paper and the faint ground of an idle core is one of these in a program of one thread.
seen.lanes = await page.locator(".lanes canvas").evaluate((canvas) => {
  const c = canvas.getContext("2d");
  const [left, row, axis] = [152, 20, 24];
  const width = canvas.width - left - 2;
  const both = c.getImageData(left, axis, width, 2 * row).data;
  return [0, 1].map((i) => {
    const data = both.slice(4 * width * (i * row + 4), 4 * width * (i * row + row - 4));
    const found = {python: 0, others: 0};
    for (let at = 0; at < data.length; at += 4) {
      const [r, g, b] = data.slice(at, at + 3);
      if (b > r + 60) found.python++;
      else if (Math.max(r, g, b) - Math.min(r, g, b) < 12 && r < 215) found.others++;
    }
    return {python: 4 * found.python / data.length, others: 4 * found.others / data.length};
  });
});
seen.eased = await page.locator("#theme").evaluate((one) => getComputedStyle(one).transitionDuration);
seen.played = await play(page, 400);
seen.pdf = (await page.pdf({format: "A4"})).length;
await page.emulateMedia({media: "print"});
seen.paper = {phases: await phases.allInnerTexts(), tools: await page.locator(".tools:visible").count(),
  runs: await page.locator(".run:visible").count(), stacks: await page.locator("section.stacks:visible").count()};

const still = await open({reducedMotion: "reduce"});
seen.still_eased = await still.locator("#theme").evaluate((one) => getComputedStyle(one).transitionDuration);
seen.still_played = await play(still, 2500);
await still.locator("#scrub").evaluate((one) => { one.value = one.max / 4; one.dispatchEvent(new Event("input")); });
seen.still_scrubbed = [await still.locator(".counters").first().innerText(), Number(await still.locator("#scrub").inputValue())];
await browser.close();
console.log(JSON.stringify(seen));
