// speedscope.mjs - speedscope.mjs MODULES FILE...: loads files into the real viewer, offline; prints for each its title and what its
// table of functions shows, as JSON.
import {createRequire} from "node:module";

const [modules, ...files] = process.argv.slice(2);
const {chromium} = createRequire(`${modules}/`)("playwright-core");
const browser = await chromium.launch({executablePath: "/usr/bin/chromium", args: ["--no-sandbox"]});
const seen = [];
for (const file of files) {
  const page = await browser.newPage({viewport: {width: 1200, height: 900}});
  const messages = [];
  page.on("pageerror", (one) => messages.push(one.message));
  page.on("dialog", (one) => { messages.push(one.message()); one.dismiss(); });
  await page.goto(`file://${modules}/node_modules/speedscope/dist/release/index.html`);
  await page.setInputFiles("input[type=file]", file);
  await page.waitForFunction(() => document.title !== "speedscope", null, {timeout: 20000}).catch((error) => messages.push(error.message));
  await page.keyboard.press("3"); // the view that is a table, not a canvas
  await page.waitForSelector("text=Symbol Name", {timeout: 20000}).catch((error) => messages.push(error.message));
  seen.push({title: await page.title(), messages, rows: await page.locator("table tr").allInnerTexts()});
  await page.close();
}
await browser.close();
console.log(JSON.stringify(seen));
