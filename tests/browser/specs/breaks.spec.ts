// Links of a page that are cut in the middle of a transfer and come back (F6 of the fault matrix).

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { expect, test, type Locator } from "@playwright/test";

import { Agent } from "../src/agent.ts";
import { hashOf, writeRandomFile } from "../src/files.ts";
import { Lab, setCable, slowDown } from "../src/lab.ts";
import { DESKTOP, Phone } from "../src/phone.ts";
import * as screens from "../src/screens.ts";
import { seed, tellSeed } from "../src/seed.ts";

const MIB = 1024 * 1024;
const FILE_BYTES = 64 * MIB;
/** What may travel again after one break: 16 MiB of window and 8 MiB that are not in the journal yet, and headers. */
const AGAIN_BYTES = 25 * MIB;
/** How long a transfer may need to go on after its link is back. */
const BACK_WITHIN_MS = 5_000;


let dir: string;
let lab: Lab;
let agent: Agent;
let phone: Phone;

test.beforeEach(async () => {
  tellSeed();
  dir = mkdtempSync(join(tmpdir(), "lanyard-files-"));
  lab = await Lab.lan("pc", "phone");
  // 8 MB/s, so that a moment of the transfer can be met.
  for (const host of ["pc", "phone"]) slowDown(lab.host(host), 64);
  agent = await Agent.up(lab.host("pc"), { args: ["-v"] });
  phone = await Phone.on(lab.host("phone"), { viewport: DESKTOP });
  writeRandomFile(join(dir, "film.mov"), FILE_BYTES, seed);
});

test.afterEach(async () => {
  await phone.close();
  await agent.stop();
  await lab.stop();
  rmSync(dir, { recursive: true, force: true });
});

/** How much of a transfer is done, in percent; what is over is done. */
async function percent(row: Locator): Promise<number> {
  if ((await row.getAttribute("data-state")) === "done") return 100;
  return Number((await row.getByTestId("percent").innerText({ timeout: 1_000 })).match(/\d+/)?.[0]);
}

/** Cuts the agent's link for so long, once half of the transfer is done, and sees it go on. */
async function cutInTheMiddle(row: Locator, seconds: number): Promise<void> {
  await expect.poll(() => percent(row), { intervals: [50], timeout: 60_000 }).toBeGreaterThanOrEqual(50);
  setCable(lab.host("pc"), "down");
  await expect(row).toHaveAttribute("data-state", "interrupted", { timeout: 4_000 });
  // It lasts from the last byte that came, which a busy machine reads late: silence is noticed two seconds after it.
  const mendAt = Date.now() + (seconds - 2) * 1_000;
  await expect(row).toContainText("waiting");
  if (seconds > 30) await expect(row).toContainText("Interrupted", { timeout: mendAt - Date.now() });
  await sleep(mendAt - Date.now());
  const before = await percent(row);
  expect(before).toBeLessThan(100);
  setCable(lab.host("pc"), "up");
  const mended = Date.now();
  await expect.poll(() => percent(row), { intervals: [50], timeout: BACK_WITHIN_MS }).toBeGreaterThan(before);
  console.log(`fault | F6 | link of a page cut at ${before} % for ${seconds} s | goes on ${(Date.now() - mended) / 1_000} s after its return |`);
}

test("a page that sends goes on within five seconds after a break of five", async () => {
  await screens.openLink(phone.page, agent.link);
  await screens.connected(phone.page, agent.name);
  await screens.sendFiles(phone.page, agent.name, join(dir, "film.mov"));
  await screens.goTo(phone.page, "Transfers");
  const row = screens.newestTransfer(phone.page, "send");
  await cutInTheMiddle(row, 5);
  await expect(row).toHaveAttribute("data-state", "done", { timeout: 60_000 });
  expect(await hashOf(join(agent.inbox, "film.mov"))).toBe(await hashOf(join(dir, "film.mov")));

  await phone.page.goto("about:blank");
  const [, received] = await agent.program.waitFor(/a conversation ended.*received_bytes=\D*(\d+)/, 90_000);
  expect(Number(received) - FILE_BYTES, "bytes that were sent again").toBeLessThan(AGAIN_BYTES);
});

test("a page that receives calls a break of 31 seconds interrupted, and goes on by itself", async () => {
  await screens.openLink(phone.page, agent.link);
  await screens.connected(phone.page, agent.name);
  const name = (await phone.page.getByTestId("own-badge").locator("bdi").first().innerText()).trim();
  const send = agent.command("send", join(dir, "film.mov"), "--to", name);
  await screens.accept(phone.page);
  await screens.goTo(phone.page, "Transfers");
  const row = screens.newestTransfer(phone.page, "receive");
  await cutInTheMiddle(row, 31);
  await expect(row).toHaveAttribute("data-state", "done", { timeout: 60_000 });
  expect(await send.ended(), send.printed).toBe(0);
});
