// A page that is reloaded in the middle goes on where it was. Secure pages only: the browser runs on the agent's own host.

import { mkdirSync, statSync } from "node:fs";
import { join } from "node:path";

import { expect, test, type Locator } from "@playwright/test";

import type { Agent } from "../src/agent.ts";
import { hashOf, writeRandomFile } from "../src/files.ts";
import { OneHost } from "../src/one_host.ts";
import type { Phone } from "../src/phone.ts";
import * as screens from "../src/screens.ts";
import { seed, tellSeed } from "../src/seed.ts";

const MB = 1_000_000;

let host: OneHost;
let dir: string;
let agent: Agent;
let phone: Phone;

test.beforeEach(async () => {
  tellSeed();
  host = await OneHost.up();
  ({ dir, agent, phone } = host);
});

test.afterEach(() => host.down());

/** What the browser's downloads get of a received transfer. */
async function savedHash(row: Locator): Promise<string> {
  const [download] = await Promise.all([row.page().waitForEvent("download"), row.getByTestId("save").click()]);
  return await hashOf(await download.path());
}

/** Reloads the page as soon as so much of the transfer is done. */
async function reloadAt(row: Locator, percent: number): Promise<void> {
  await expect.poll(async () => Number((await row.getByTestId("percent").innerText()).match(/\d+/)?.[0]), { intervals: [50], timeout: 60_000 }).toBeGreaterThanOrEqual(percent);
  await row.page().reload();
}

test("a page that is reloaded while it receives goes on from what it has once the two meet", async () => {
  writeRandomFile(join(dir, "film.mov"), 200 * MB, seed);
  const name = await screens.connectSecurely(phone.page, agent);
  const send = agent.command("send", join(dir, "film.mov"), "--to", name);
  await screens.accept(phone.page);
  await screens.goTo(phone.page, "Transfers");
  phone.page.on("dialog", (dialog) => void dialog.accept());
  await reloadAt(screens.newestTransfer(phone.page, "receive"), 40);

  const row = screens.newestTransfer(phone.page, "receive");
  await expect(phone.page.getByTestId("transfer")).toContainText("kept");
  await screens.meetAgain(phone.page, agent);
  await screens.goTo(phone.page, "Transfers");
  await expect(row).toHaveAttribute("data-state", "done", { timeout: 120_000 });
  expect(await send.ended(), send.printed).toBe(0);
  expect(await savedHash(row)).toBe(await hashOf(join(dir, "film.mov")));
});

test("a page that is reloaded while it sends asks for the same file, tells another one from it, and goes on", async () => {
  writeRandomFile(join(dir, "film.mov"), 200 * MB, seed);
  await screens.connectSecurely(phone.page, agent);
  phone.page.on("dialog", (dialog) => void dialog.accept());
  await screens.sendFiles(phone.page, agent.name, join(dir, "film.mov"));
  await screens.goTo(phone.page, "Transfers");
  await reloadAt(screens.newestTransfer(phone.page, "send"), 40);

  const row = screens.newestTransfer(phone.page, "send");
  await expect(row).toHaveAttribute("data-state", "kept");
  mkdirSync(join(dir, "other"));
  writeRandomFile(join(dir, "other/film.mov"), 300 * MB, seed + 1);
  await row.getByTestId("pick-again-files").setInputFiles(join(dir, "other/film.mov"));
  await expect(phone.page.getByText("has another size")).toBeVisible();
  await screens.meetAgain(phone.page, agent);
  await screens.goTo(phone.page, "Transfers");
  await row.getByTestId("pick-again-files").setInputFiles(join(dir, "film.mov"));
  await expect(row).toHaveAttribute("data-state", "done", { timeout: 120_000 });
  expect(await hashOf(join(agent.inbox, "film.mov"))).toBe(await hashOf(join(dir, "film.mov")));
});

test("files that came by the browser's own picker are found again without being picked", async () => {
  await screens.connectSecurely(phone.page, agent);
  phone.page.on("dialog", (dialog) => void dialog.accept());
  // No test can use the real picker: the page is given the handle of a file in its private file system.
  await phone.page.evaluate(async (bytes) => {
    const root = await navigator.storage.getDirectory();
    const handle = await root.getFileHandle("picked.bin", { create: true });
    const stream = await handle.createWritable();
    for (let at = 0; at < bytes; at += 65_536) await stream.write(crypto.getRandomValues(new Uint8Array(65_536)));
    await stream.close();
    Object.assign(window, { showOpenFilePicker: () => Promise.resolve([handle]) });
  }, 65_536 * 1_000);
  const sheet = await screens.openDevice(phone.page, agent.name);
  await sheet.getByRole("button", { name: "Send files" }).click();
  await screens.goTo(phone.page, "Transfers");
  const row = screens.newestTransfer(phone.page, "send");
  await reloadAt(row, 30);
  await screens.meetAgain(phone.page, agent);
  await expect(phone.page.getByTestId("kept-note")).toContainText("1 transfer can continue");
  await screens.goTo(phone.page, "Transfers");
  await row.getByTestId("continue").click();
  await expect(row).toHaveAttribute("data-state", "done", { timeout: 120_000 });
  expect(statSync(join(agent.inbox, "picked.bin")).size).toBe(65_536 * 1_000);
});

test("what is discarded after a reload is gone, and the sender is told", async () => {
  writeRandomFile(join(dir, "film.mov"), 200 * MB, seed);
  const name = await screens.connectSecurely(phone.page, agent);
  phone.page.on("dialog", (dialog) => void dialog.accept());
  const send = agent.command("send", join(dir, "film.mov"), "--to", name);
  await screens.accept(phone.page);
  await screens.goTo(phone.page, "Transfers");
  const row = screens.newestTransfer(phone.page, "receive");
  await reloadAt(row, 20);
  await row.getByTestId("discard").click();
  await phone.page.getByTestId("confirm-cancel").click();
  await expect(row).toHaveAttribute("data-state", "cancelled");
  await screens.meetAgain(phone.page, agent);
  expect(await send.ended(), send.printed).not.toBe(0);
});
