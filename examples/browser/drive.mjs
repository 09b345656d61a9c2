// Use the page as a person would, in headless Chromium, and print what it shows as JSON.
//
//     node drive.mjs CHROMIUM PAGE_URL FOLDER '[["a text"], ["a text", "its pair"]]' [SCREENSHOT.png]
//
// FOLDER "" leaves the picker alone, for a page that was given ?model=URL.

import { chromium } from "playwright-core";

const [executablePath, url, folder, texts, screenshot] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync"],
});
try {
  const page = await browser.newPage();
  page.setDefaultTimeout(120_000);
  await page.goto(url);
  if (folder) {
    await page.locator("#folder").setInputFiles(folder);
  }
  await settled(page);
  const precisions = await page.locator("#precision option").evaluateAll((options) => options.map((one) => one.value));
  const answers = {};
  for (const precision of precisions) {
    await page.locator("#precision").selectOption(precision);
    await settled(page);
    answers[precision] = [];
    for (const [text, pair] of JSON.parse(texts)) {
      answers[precision].push(await ask(page, text, pair ?? ""));
    }
  }
  if (screenshot) {
    await page.screenshot({ path: screenshot });
  }
  console.log(JSON.stringify({ status: await page.locator("#status").textContent(), answers }));
} finally {
  await browser.close();
}

async function ask(page, text, pair) {
  await page.locator("#text").fill("");
  await page.locator("#text").pressSequentially(text);
  await page.locator("#pair").fill(pair);
  await page.locator("#text").press("Enter");
  await settled(page);
  if (await page.locator("#answer").isHidden()) {
    return { error: await page.locator("#status").textContent() };
  }
  const shown = (id) => page.locator(id).textContent();
  return { label: await shown("#label"), score: Number(await shown("#score")) };
}

/** Wait until the page has opened, answered or failed. */
async function settled(page) {
  await page.waitForFunction(() => {
    const status = document.getElementById("status");
    return status.className === "failed" || /^(Ready|[0-9.]+ ms)/.test(status.textContent);
  });
}
