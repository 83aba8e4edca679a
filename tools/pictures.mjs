// pictures.mjs - pictures.mjs MODULES PAGES INTO: report.html and race.html of PAGES as pictures.
import {writeFileSync} from "node:fs";
import {createRequire} from "node:module";

const [modules, pages, into] = process.argv.slice(2);
const {chromium} = createRequire(`${modules}/`)("playwright-core");
const browser = await chromium.launch({executablePath: "/usr/bin/chromium", args: ["--no-sandbox"]});

/** From the page's top to the end of what `last` selects. */
async function picture(file, last, name, options = {}) {
  const page = await browser.newPage({viewport: {width: 1100, height: 900}, ...options});
  await page.goto(`file://${pages}/${file}.html`);
  const box = await page.locator(last).first().boundingBox();
  const session = await page.context().newCDPSession(page);
  const {data} = await session.send("Page.captureScreenshot", {format: "webp", quality: 85, captureBeyondViewport: true,
    clip: {x: 0, y: 0, width: 1100, height: Math.ceil(box.y + box.height) + 16, scale: 1}});
  writeFileSync(`${into}/${name}.webp`, Buffer.from(data, "base64"));
  await page.close();
}

await picture("report", ".legend", "report");
await picture("report", ".legend", "report-dark", {colorScheme: "dark"});
await picture("race", "#race", "race");
await browser.close();
