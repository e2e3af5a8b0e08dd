// What a page on plain http cannot hold, its browser downloads from the agent, after its person agreed.

import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, truncateSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { expect, test } from "@playwright/test";

import { Agent } from "../src/agent.ts";
import { hashOf, writeRandomFile } from "../src/files.ts";
import { Lab } from "../src/lab.ts";
import { ANDROID, Phone } from "../src/phone.ts";
import { Relay } from "../src/relay.ts";
import * as screens from "../src/screens.ts";
import { seed, tellSeed } from "../src/seed.ts";

const MB = 1_000_000;
/** More than the 256 MiB that a page on a phone holds. */
const TOO_LARGE = 300 * MB;
const ARTEFACTS = join(import.meta.dirname, "../artefacts");

let dir: string;
let lab: Lab;
let agent: Agent;
let phone: Phone;
let phoneName: string;

test.beforeAll(() => mkdirSync(ARTEFACTS, { recursive: true }));

async function begin(relay?: Relay): Promise<void> {
  tellSeed();
  agent = await Agent.up(lab.host("pc"), relay === undefined ? {} : { relay });
  phone = await Phone.on(lab.host("phone"), { userAgent: ANDROID });
  await screens.openLink(phone.page, agent.link);
  await screens.connected(phone.page, agent.name);
  phoneName = (await phone.page.getByTestId("own-badge").locator("bdi").first().innerText()).trim();
}

test.beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), "lanyard-files-"));
  lab = await Lab.lan("pc", "phone", "relay");
});

test.afterEach(async () => {
  await phone.close();
  await agent.stop();
  await lab.stop();
  rmSync(dir, { recursive: true, force: true });
});

/** A file with some content at its beginning, and none in most of the rest. */
function writeLargeFile(path: string, offset: number): void {
  writeRandomFile(path, 10 * MB, seed + offset);
  truncateSync(path, TOO_LARGE + offset);
}

test("a file that is too large for the page is downloaded by its browser, and the sender hears of no refusal", async () => {
  await begin();
  const path = join(dir, "film — größe 1.mov");
  writeLargeFile(path, 0);
  const send = agent.command("send", path, "--to", phoneName);
  const { page } = phone;
  await expect(page.getByTestId("too-large")).toContainText("too large for this page");
  await expect(page.getByTestId("download-consent")).toContainText("anybody on this network could read it");
  await expect(page.getByTestId("accept")).toHaveCount(0);
  await expect(page.getByTestId("secure-page")).toHaveCount(0);
  await page.screenshot({ path: join(ARTEFACTS, "phone-too-large.png"), animations: "disabled" });

  const [download] = await Promise.all([page.waitForEvent("download", { timeout: 60_000 }), page.getByTestId("download").click()]);
  await expect(page.getByTestId("offer")).toHaveCount(0);
  expect(new URL(download.url()).pathname).toMatch(/^\/s\/[\w-]{22}\/film/);
  expect(download.suggestedFilename()).toBe("film — größe 1.mov");
  expect(await hashOf(await download.path())).toBe(await hashOf(path));
  expect(await send.ended(), send.printed).toBe(0);
  expect(send.printed).toContain("its browser downloads it from here");
  expect(send.printed).toContain("was downloaded by the browser there");
  expect(send.printed).not.toContain("declined");
  await screens.goTo(page, "Transfers");
  const row = screens.newestTransfer(page, "receive");
  await expect(row).toHaveAttribute("data-state", "by_browser");
  await expect(row).toContainText("without encryption and unchecked");
  await page.screenshot({ path: join(ARTEFACTS, "phone-by-browser.png") });
});

test("several files are taken one by one, resumed with Range, and the link ends with the last of them", async () => {
  await begin();
  const [first, second] = [join(dir, "one.bin"), join(dir, "two.bin")];
  writeLargeFile(first, 1);
  writeLargeFile(second, 2);
  const send = agent.command("send", first, second, "--to", phoneName);
  const { page } = phone;
  await page.getByTestId("download").click();
  await screens.goTo(page, "Transfers");
  const links = screens.newestTransfer(page, "receive").getByTestId("download-file");
  await expect(links).toHaveCount(2);
  const hrefs = await links.evaluateAll((all) => all.map((link) => (link as HTMLAnchorElement).href));
  const [one, two] = hrefs;
  if (one === undefined || two === undefined) throw new Error("two links");

  // As a download that broke off and is resumed.
  const out = join(dir, "out.bin");
  const curl = (...args: string[]): string =>
    execFileSync("ip", ["netns", "exec", lab.host("phone").namespace, "curl", "-sS", "-f", ...args], { encoding: "utf8" });
  curl("-r", "0-99999999", "-o", out, one);
  curl("-C", "-", "-o", out, one);
  expect(await hashOf(out)).toBe(await hashOf(first));
  const [download] = await Promise.all([page.waitForEvent("download", { timeout: 60_000 }), links.nth(1).click()]);
  expect(await hashOf(await download.path())).toBe(await hashOf(second));
  expect(await send.ended(), send.printed).toBe(0);
  expect(() => curl(two), "used up").toThrow(/404/);
});

test("who declines instead is told as declining, and the secure page is named", async () => {
  const relay = await Relay.up(lab.host("relay"));
  try {
    await begin(relay);
    const path = join(dir, "film.mov");
    writeLargeFile(path, 3);
    const send = agent.command("send", path, "--to", phoneName);
    const { page } = phone;
    await expect(page.getByTestId("download")).toBeVisible();
    await expect(page.getByTestId("secure-page")).toHaveAttribute("href", relay.https);
    await page.getByTestId("decline").click();
    expect(await send.ended(), send.printed).toBe(4);
    expect(send.printed).toContain("was declined");
  } finally {
    await relay.stop();
  }
});
