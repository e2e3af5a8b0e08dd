// Opens an agent's link in Debian's Firefox ESR, sends it a file and prints the route and how the transfer ended.
//
// usage: firefox.mjs LINK NAME FILE AUTHORITY ADDRESS; every name leads to ADDRESS. Run it inside the namespace of the browser's host: WebDriver BiDi goes over its loopback.

import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { launch } from "puppeteer-core";

const [link, name, file, authority, address] = process.argv.slice(2);
const home = mkdtempSync(join(tmpdir(), "lanyard-firefox-"));
const profile = join(home, "profile");
mkdirSync(profile);
// TURN over TLS heeds no exception that a person or WebDriver makes for pages: the authority must be trusted.
for (const args of [["-N", "--empty-password"], ["-A", "-n", "lab", "-t", "C,,", "-i", authority]]) {
  execFileSync("certutil", ["-d", `sql:${profile}`, ...args], { stdio: "pipe" });
}
const browser = await launch({
  browser: "firefox",
  executablePath: "/usr/bin/firefox-esr",
  headless: true,
  userDataDir: profile,
  extraPrefsFirefox: { "network.dns.forceResolve": address },
  env: { ...process.env, HOME: home, MOZ_DISABLE_CONTENT_SANDBOX: "1" },
});
try {
  const page = await browser.newPage();
  await page.setViewport({ width: 1280, height: 800 });
  await page.goto(link);
  await page.locator('::-p-xpath(//button[normalize-space()="Connect"])').setTimeout(30_000).click();
  const device = await page.waitForSelector(`[data-testid=device][data-presence=connected] ::-p-text(${name})`, { timeout: 30_000 });
  const route = await page.waitForSelector("[data-testid=device] [data-testid=route]", { timeout: 10_000 });
  const shown = (await route.evaluate((element) => element.textContent ?? "")).trim();
  await device.click();
  const field = await page.waitForSelector("[data-testid=device-sheet] [data-testid=pick-files]", { timeout: 10_000 });
  await field.uploadFile(file);
  await page.waitForSelector("[data-testid=device-sheet]", { hidden: true, timeout: 10_000 });
  await page.locator('a[href="/transfers"], ::-p-xpath(//nav//*[normalize-space()="Transfers"])').setTimeout(10_000).click();
  const row = await page.waitForSelector("[data-testid=transfer][data-direction=send][data-state=done]", { timeout: 60_000 });
  const state = await row.evaluate((element) => element.getAttribute("data-state"));
  process.stdout.write(JSON.stringify({ route: shown, state }));
} catch (error) {
  const [page] = (await browser.pages()).slice(-1);
  const text = await page?.evaluate(() => document.body.innerText).catch(() => "");
  throw new Error(`the page shows:\n${text}`, { cause: error });
} finally {
  await browser.close();
  rmSync(home, { recursive: true, force: true });
}
