// pictures.mjs - pictures.mjs MODULES PAGES INTO: report.html and race.html of PAGES as pictures.
import {createRequire} from "node:module";

const [modules, pages, into] = process.argv.slice(2);
const {chromium} = createRequire(`${process.cwd()}/${modules}/`)("playwright-core");
const browser = await chromium.launch({executablePath: "/usr/bin/chromium", args: ["--no-sandbox"]});

async function picture(file, name, {media = "screen", ...options} = {}, height = 900) {
  const page = await browser.newPage({viewport: {width: 1100, height}, ...options});
  await page.goto(`file://${pages}/${file}.html`);
  await page.emulateMedia({media});
  await page.screenshot({path: `${into}/${name}.png`});
  await page.close();
}

await picture("report", "report", {}, 1250);
await picture("report", "report-dark", {colorScheme: "dark"}, 1250);
await picture("race", "race", {}, 1300);
await browser.close();
