// page.mjs MODULES FILE: the scripting time of a zoom or pan step of that page (median, ms), as JSON.
// The page is made by `bigpage 1000 600 > FILE` of the build's tests/c.
import {createRequire} from "node:module";

const [modules, file] = process.argv.slice(2);
const {chromium} = createRequire(`${modules}/`)("playwright-core");
const browser = await chromium.launch({executablePath: "/usr/bin/chromium", args: ["--no-sandbox"]});
const page = await browser.newPage({viewport: {width: 1200, height: 900}});
await page.addInitScript(() => {
  const ask = window.requestAnimationFrame.bind(window);
  window.spent = 0;
  window.requestAnimationFrame = (callback) => ask((at) => {
    const from = performance.now();
    callback(at);
    window.spent += performance.now() - from;
  });
});
await page.goto(`file://${file}`);
const median = (times) => times.sort((a, b) => a - b)[times.length >> 1];
const steps = await page.evaluate(async () => {
  const canvas = document.querySelector(".lanes canvas");
  const times = {zoom: [], pan: []};
  for (let i = 0; i < 200; i++) {
    const options = i % 2 ? {deltaX: i % 4 === 1 ? 40 : -40} : {deltaY: i % 50 < 25 ? -60 : 60};
    window.spent = 0;
    const from = performance.now();
    canvas.dispatchEvent(new WheelEvent("wheel", {clientX: 600, cancelable: true, ...options}));
    const handler = performance.now() - from;
    await new Promise((done) => setTimeout(done, 40));
    times[i % 2 ? "pan" : "zoom"].push(handler + window.spent);
  }
  return times;
});
console.log(JSON.stringify({zoom_ms: median(steps.zoom), pan_ms: median(steps.pan)}));
await browser.close();
