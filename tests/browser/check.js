// Opens the load tester's pages as people do, and says what is wrong with them.
// node check.js PAGES SCREENSHOTS: a folder with a page for each of PLOTS, and one for pictures of them.
// WEIRGATE_CHROMIUM names the browser (default: Debian's).

import { mkdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

import { chromium } from "playwright-core";

import { contrasts, drawn, overflowing, overlapping } from "./look.js";

const TIME = ["latency", "answers", "percentiles", "in-flight"];
const RUN = [...TIME, "streams", "tokens", "revisions"];
const PLOTS = {
  run: RUN,
  sweep: ["sweep-latency", "sweep-answers", ...TIME],
  ab: ["ratios", "rounds"],
  // A run whose server sent texts that try to become markup and script.
  hostile: RUN,
};
const WIDE = { width: 1240, height: 900 };
const NARROW = { width: 400, height: 800 };

const [pages, pictures] = process.argv.slice(2).map((path) => resolve(path));
const faults = [];

/** A page that reports what it must not do: talk to anybody, or fail. */
async function open(browser, name, options, where) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.setDefaultTimeout(10_000);
  const fault = (what) => faults.push(`${name}, ${where}: ${what}`);
  page.on("request", (request) => {
    if (!/^(file|data):/.test(request.url())) fault(`asks for ${request.url()}`);
  });
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) fault(`says ${message.text()}`);
  });
  page.on("dialog", (dialog) => {
    fault(`asks '${dialog.message()}'`);
    dialog.dismiss();
  });
  page.on("pageerror", (error) => fault(`fails: ${error.message}`));
  await page.goto(pathToFileURL(join(pages, `${name}.html`)).href);
  return { page, fault, expect: (holds, what) => holds || fault(what), close: () => context.close() };
}

async function look(opened, name) {
  const { page, fault, expect } = opened;
  const found = await page.locator("[data-plot]").evaluateAll((plots) => plots.map((plot) => plot.dataset.plot));
  expect(String(found.sort()) === String([...PLOTS[name]].sort()), `has the plots ${found}, not ${PLOTS[name]}`);
  for (const plot of PLOTS[name]) {
    for (const what of await page.locator(`[data-plot="${plot}"]`).evaluate(drawn)) fault(`${plot} ${what}`);
  }
  for (const plot of ["ratios", "revisions"].filter((plot) => PLOTS[name].includes(plot))) {
    const gap = await page.locator(`[data-plot="${plot}"]`).evaluate((figure) => {
      // As tall as a chart beside it could make it.
      figure.style.minHeight = "1200px";
      const above = [...figure.querySelectorAll("figcaption, .legend")].map((part) => part.getBoundingClientRect().bottom);
      const gap = figure.querySelector(".drawing").getBoundingClientRect().top - Math.max(...above);
      figure.style.minHeight = "";
      return gap;
    });
    expect(gap < 40, `${plot} leaves ${gap} pixels empty above its rows`);
  }
  expect((await page.locator("pre.again").innerText()).startsWith("weirgate loadtest "), "has no command to run it again");
  for (const check of [overflowing, overlapping, contrasts]) {
    for (const what of await page.evaluate(check)) fault(what);
  }
}

async function inTheme(browser, name, theme) {
  const opened = await open(browser, name, { colorScheme: theme, viewport: WIDE }, theme);
  const { page, expect } = opened;
  await look(opened, name);
  await page.screenshot({ path: join(pictures, `${name}-${theme}.png`), fullPage: true });

  const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const before = await background();
  await page.click("#theme");
  const toggled = await page.evaluate(() => document.documentElement.dataset.theme);
  expect(toggled === (theme === "dark" ? "light" : "dark"), `toggles to ${toggled}`);
  expect((await background()) !== before, "looks the same when toggled");
  await page.click("#theme");
  expect((await background()) === before, "does not toggle back");
  await opened.close();
}

async function byPointerAndKeys(browser, name) {
  const opened = await open(browser, name, { viewport: WIDE }, "pointed at");
  const { page, expect } = opened;
  for (const plot of PLOTS[name]) {
    const figure = page.locator(`[data-plot="${plot}"]`);
    const tip = figure.locator(".tip");
    expect(await tip.isHidden(), `${plot} tells values that nobody asked for`);
    await figure.locator("svg").hover();
    expect(await tip.isVisible(), `${plot} tells no values`);
    const told = await tip.innerText();
    expect(/\d/.test(told), `${plot} tells '${told}'`);
    const [inner, outer] = await Promise.all([tip.boundingBox(), figure.boundingBox()]);
    if (!inner) continue;
    expect(inner.x >= outer.x && inner.x + inner.width <= outer.x + outer.width, `${plot} tells beside its figure`);
    await page.mouse.move(0, 0);
    expect(await tip.isHidden(), `${plot} goes on telling`);
    await figure.locator("svg").press("ArrowRight");
    expect(await tip.isVisible(), `${plot} tells nothing to keys`);
    await figure.locator("svg").press("Escape");
  }
  const schema = await page.evaluate(() => JSON.parse(document.getElementById("result").textContent).schema);
  expect(schema === "weirgate.dev/loadtest/v1", `holds a result of schema ${schema}`);
  const [download] = await Promise.all([page.waitForEvent("download"), page.click("#download")]);
  expect(download.suggestedFilename() === "loadtest.json", `is saved as ${download.suggestedFilename()}`);
  await opened.close();
}

async function onAPhone(browser, name) {
  const opened = await open(browser, name, { viewport: NARROW, hasTouch: true }, "narrow");
  const width = await opened.page.evaluate(() => document.documentElement.scrollWidth);
  opened.expect(width <= NARROW.width, `is ${width} wide on a screen of ${NARROW.width}`);
  await look(opened, name);
  await opened.page.screenshot({ path: join(pictures, `${name}-narrow.png`), fullPage: true });
  await opened.close();
}

async function withoutScript(browser, name) {
  const opened = await open(browser, name, { viewport: WIDE, javaScriptEnabled: false }, "without script");
  const { page, expect } = opened;
  expect((await page.locator("[data-plot] svg").count()) === PLOTS[name].length, "lacks plots");
  expect((await page.locator("button:visible").count()) === 0, "has buttons that do nothing");
  await opened.close();
}

await mkdir(pictures, { recursive: true });
const browser = await chromium.launch({
  executablePath: process.env.WEIRGATE_CHROMIUM || "/usr/bin/chromium",
  // Chromium's sandbox refuses to run for root, as in containers; it opens only our own pages here.
  args: process.getuid() === 0 ? ["--no-sandbox"] : [],
  timeout: 30_000,
});
try {
  const looks = [
    (name) => inTheme(browser, name, "light"),
    (name) => inTheme(browser, name, "dark"),
    (name) => byPointerAndKeys(browser, name),
    (name) => onAPhone(browser, name),
    (name) => withoutScript(browser, name),
  ];
  for (const name of Object.keys(PLOTS)) {
    // A look that can't go on is a fault among the others.
    for (const look of looks) await look(name).catch((error) => faults.push(`${name}: ${error.message}`));
    console.log(`${name}: looked at`);
  }
} finally {
  await browser.close();
}
for (const fault of faults) console.error(fault);
process.exitCode = faults.length > 0 ? 1 : 0;
