// Opens an agent's link in Debian's Firefox ESR, sends it a file and prints the route and how the transfer ended.
//
// usage: firefox.mjs LINK NAME FILE, inside the namespace of the browser's host: WebDriver BiDi goes over its loopback.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { launch } from "puppeteer-core";

const [link, name, file] = process.argv.slice(2);
const home = mkdtempSync(join(tmpdir(), "lanyard-firefox-"));
const browser = await launch({
  browser: "firefox",
  executablePath: "/usr/bin/firefox-esr",
  headless: true,
  acceptInsecureCerts: true,
  userDataDir: join(home, "profile"),
  env: { ...process.env, HOME: home, MOZ_DISABLE_CONTENT_SANDBOX: "1" },
});
try {
  const page = await browser.newPage();
  await page.setViewport({ width: 1280, height: 800 });
  await page.goto(link);
  const button = (text) => page.locator(`::-p-xpath(//button[normalize-space()="${text}"])`).setTimeout(30_000);
  await button("Connect").click();
  const device = await page.waitForSelector(`[data-testid=device][data-presence=connected] ::-p-text(${name})`, { timeout: 30_000 });
  const route = await page.waitForSelector("[data-testid=device] [data-testid=route]", { timeout: 10_000 });
  const shown = (await route.evaluate((element) => element.textContent ?? "")).trim();
  await device.click();
  const [chooser] = await Promise.all([page.waitForFileChooser({ timeout: 10_000 }), button("Send files").click()]);
  await chooser.accept([file]);
  await page.locator('a[href="/transfers"], ::-p-xpath(//nav//*[normalize-space()="Transfers"])').setTimeout(10_000).click();
  const row = await page.waitForSelector("[data-testid=transfer][data-direction=send][data-state=done]", { timeout: 60_000 });
  const state = await row.evaluate((element) => element.getAttribute("data-state"));
  process.stdout.write(JSON.stringify({ route: shown, state }));
} finally {
  await browser.close();
  rmSync(home, { recursive: true, force: true });
}
