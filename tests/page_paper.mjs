// page_paper.mjs MODULES FILE: the shades of a page's canvases on a dark screen, in the print of it and after, as JSON.
import {createRequire} from "node:module";

const [modules, file] = process.argv.slice(2);
const {chromium} = createRequire(`${modules}/`)("playwright-core");
const browser = await chromium.launch({executablePath: "/usr/bin/chromium", args: ["--no-sandbox"]});
const page = await browser.newPage({viewport: {width: 1200, height: 900}, colorScheme: "dark"});
const messages = [];
page.on("console", (one) => messages.push(one.text()));
page.on("pageerror", (one) => messages.push(one.message));
await page.goto(`file://${file}`);
await page.evaluate(() => {
  // Of the scale and the labels, what is not clear; of the scale the corner, which is paper.
  window.look = () => [...document.querySelectorAll(".lanes canvas, .strip canvas")].filter((one) => one.offsetParent).map((canvas) => {
    const c = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", {willReadFrequently: true});
    c.drawImage(canvas, 0, 0);
    const scale = c.getImageData(canvas.width - 300, 0, 300, 20).data;
    const shades = [...c.getImageData(0, 0, 80, canvas.height).data, ...scale].filter((_, i, all) => i % 4 === 0 && all[i + 3] > 200);
    return {paper: scale[0], darkest: Math.min(...shades)};
  });
  window.addEventListener("beforeprint", () => { window.printed = window.look(); });
});
await page.waitForTimeout(100);
const seen = {messages, screen: await page.evaluate(() => window.look())};
await page.pdf({format: "A4"});
seen.printed = await page.evaluate(() => window.printed);
await page.emulateMedia({media: "print"});
await page.waitForFunction(() => document.documentElement.dataset.theme === "light");
seen.emulated = await page.evaluate(() => window.look());
await page.emulateMedia({media: "screen"});
await page.waitForFunction(() => !document.documentElement.dataset.theme);
await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
seen.after = await page.evaluate(() => window.look());
await browser.close();
console.log(JSON.stringify(seen));
