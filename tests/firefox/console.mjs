// The console in Firefox: every page fits its window and has no finding of axe, and an operator finds a record, asks about
// several and settles one, by the pages' own forms. Prints what is wrong, one finding a line.
//
// node console.mjs FIREFOX TASK, in a folder with node_modules; TASK is JSON: { base, pages: [[name, url]], widths, key, record }.

import { readFileSync } from "node:fs";
import puppeteer from "puppeteer-core";

const [, , executablePath, task] = process.argv;
const { base, pages, widths, key, record } = JSON.parse(task);
const axe = readFileSync("node_modules/axe-core/axe.min.js", "utf8");
const problems = [];
const browser = await puppeteer.launch({ browser: "firefox", executablePath, headless: true });
const page = await browser.newPage();
page.setDefaultTimeout(60_000);

async function leaves(act) {
  await Promise.all([page.waitForNavigation(), act()]);
}

const text = () => page.evaluate(() => document.body.innerText);

async function expect(what, holds) {
  if (!holds) problems.push(`${what}, on ${page.url()}: ${(await text()).replaceAll("\n", " ")}`);
}

async function findings() {
  await page.evaluate(axe);
  return page.evaluate(async () => {
    const { violations } = await globalThis.axe.run();
    return violations.filter(({ impact }) => ["serious", "critical"].includes(impact)).map(({ id, nodes }) => `${id} ${nodes[0].html}`);
  });
}

async function signsIn() {
  await page.goto(`${base}/console`);
  await leaves(() => page.click("a.button"));
  await page.waitForSelector("#name");
  await page.evaluate(() => { document.querySelector("#name").value = ""; });
  await page.type("#name", "olga");
  await page.select("#role", "operator");
  await leaves(() => page.click("button"));
  await page.waitForSelector(".who");
  await expect("olga is signed in", (await text()).includes("olga (operator)"));
}

async function looks() {
  for (const width of widths) {
    await page.setViewport({ width, height: 800 });
    for (const [name, url] of pages) {
      await page.goto(url);
      // The window takes its new size a moment later.
      await page.waitForFunction((width) => innerWidth === width, {}, width);
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      if (overflow > 0) problems.push(`${name} is ${overflow} px wider than a window of ${width}`);
      if (width === 320) problems.push(...(await findings()).map((finding) => `${name}: ${finding}`));
    }
  }
  await page.setViewport({ width: 1280, height: 800 });
}

async function finds() {
  await page.goto(`${base}/console`);
  await page.type(".search input[type=search]", key);
  await leaves(() => page.keyboard.press("Enter"));
  await expect("the key leads to its record", page.url().includes("/console/records/"));
}

async function asksAboutSeveral() {
  await page.goto(`${base}/console/unresolved`);
  await page.click(`input[value="${record}"]`);
  await page.select("#action", "ask");
  await leaves(() => page.click(".bulk button"));
  await page.type("#name", "Incident 4711");
  await leaves(() => page.click("form.card button"));
  await expect("there is a result", (await text()).includes("1 of 1 without a problem"));
}

async function settles() {
  await page.goto(`${base}/console/records/${record}/fail`);
  await page.type("#evidence", "The bank says that nothing happened.");
  await page.type("#reason", "Seen in the provider's dashboard.");
  await leaves(() => page.click("form.card button"));
  await expect("it is a preview", (await text()).includes("Nothing is written yet."));
  await leaves(() => page.click("main form button"));
  await expect("it is done", (await text()).includes("Done: Settle as failed"));
}

try {
  await signsIn();
  await looks();
  await finds();
  await asksAboutSeveral();
  await settles();
  // A counter-check: what there is to be found is found.
  await page.evaluate(() => { document.querySelector("main").innerHTML = "<img src=/console/icon.svg><input>"; });
  if ((await findings()).length === 0) problems.push("axe finds nothing in a page that is wrong");
} finally {
  await browser.close();
}
problems.forEach((problem) => console.log(problem));
console.log(`${problems.length} problems on ${pages.length} pages`);
process.exit(problems.length === 0 ? 0 : 1);
