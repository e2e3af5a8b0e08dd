// The main job: a phone scans, connects, sends and receives, on a network of its own.

import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { expect, test } from "@playwright/test";

import { Agent } from "../src/agent.ts";
import { hashOf, hashesBelow, writeRandomFile } from "../src/files.ts";
import { Lab } from "../src/lab.ts";
import { DESKTOP, Phone } from "../src/phone.ts";
import * as screens from "../src/screens.ts";
import { seed, tellSeed } from "../src/seed.ts";

const MB = 1_000_000;
const ARTEFACTS = join(import.meta.dirname, "../artefacts");

let dir: string;

test.beforeAll(() => {
  tellSeed();
  mkdirSync(ARTEFACTS, { recursive: true });
  dir = mkdtempSync(join(tmpdir(), "lanyard-files-"));
  writeRandomFile(join(dir, "film.mov"), 300 * MB, seed);
  writeRandomFile(join(dir, "music.flac"), 100 * MB, seed + 1);
  writeManyFiles(join(dir, "Photos"));
});

test.afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** 500 small files in folders; one is empty, one has a name in several scripts. */
function writeManyFiles(root: string): void {
  for (let i = 0; i < 498; i++) writeRandomFile(join(root, `${i % 7}`, `IMG_${i}.heic`), 1 + ((i * 977) % 40_000), seed + i);
  writeFileSync(join(root, "empty.txt"), "");
  writeFileSync(join(root, "3", "snapshot — größe 写真 🎈.txt"), "unicode\n");
}

test("a phone and an agent meet by the link and move files both ways over the LAN", async () => {
  const lab = await Lab.lan("pc", "phone");
  const agent = await Agent.up(lab.host("pc"));
  const phone = await Phone.on(lab.host("phone"));
  try {
    const { page } = phone;
    await screens.openLink(page, agent.link);
    await screens.connected(page, agent.name);
    const phoneName = (await page.getByTestId("own-badge").locator("bdi").first().innerText()).trim();
    expect((await listed(agent)).join("\n")).toContain(phoneName);
    await expect(screens.device(page, agent.name).getByTestId("route")).toHaveAttribute("data-route", "lan");
    await expect(screens.device(page, agent.name).getByTestId("route")).toContainText("Direct · LAN");
    await page.screenshot({ path: join(ARTEFACTS, "phone-nearby.png") });

    await screens.sendFiles(page, agent.name, join(dir, "film.mov"));
    await screens.goTo(page, "Transfers");
    await expect(screens.newestTransfer(page, "send")).toHaveAttribute("data-state", "done", { timeout: 120_000 });
    expect(await hashOf(join(agent.inbox, "film.mov"))).toBe(await hashOf(join(dir, "film.mov")));

    await screens.sendFolder(page, agent.name, join(dir, "Photos"));
    await screens.goTo(page, "Transfers");
    await expect(screens.newestTransfer(page, "send")).toHaveAttribute("data-state", "done", { timeout: 120_000 });
    expect(await hashesBelow(join(agent.inbox, "Photos"))).toEqual(await hashesBelow(join(dir, "Photos")));

    const send = agent.command("send", join(dir, "music.flac"), "--to", phoneName);
    await screens.accept(page);
    await screens.goTo(page, "Transfers");
    const received = screens.newestTransfer(page, "receive");
    await expect(received).toHaveAttribute("data-state", "done", { timeout: 120_000 });
    expect(await send.ended(), send.printed).toBe(0);
    await page.screenshot({ path: join(ARTEFACTS, "phone-transfers.png") });
    const [download] = await Promise.all([page.waitForEvent("download"), received.getByTestId("save").click()]);
    expect(download.suggestedFilename()).toBe("music.flac");
    expect(await hashOf(await download.path())).toBe(await hashOf(join(dir, "music.flac")));
    expect(readdirSync(agent.inbox).sort(), "no part is left").toEqual(["Photos", "film.mov"]);
  } finally {
    await phone.close();
    await agent.stop();
    await lab.stop();
  }
});

test("two pages of one agent meet by comparing pictures and move files both ways", async () => {
  const lab = await Lab.lan("pc", "phone", "laptop");
  const agent = await Agent.up(lab.host("pc"));
  const phone = await Phone.on(lab.host("phone"));
  const laptop = await Phone.on(lab.host("laptop"), { viewport: DESKTOP, colorScheme: "dark" });
  try {
    await screens.openLink(phone.page, agent.link);
    await screens.connected(phone.page, agent.name);
    await expect.poll(() => agent.newestLink).not.toBe(agent.link);
    await screens.openLink(laptop.page, agent.newestLink);
    await screens.connected(laptop.page, agent.name);

    const phoneName = (await phone.page.getByTestId("own-badge").locator("bdi").first().innerText()).trim();
    const laptopName = (await laptop.page.getByTestId("own-badge").locator("bdi").first().innerText()).trim();
    await screens.sendFiles(phone.page, laptopName, join(dir, "film.mov"));
    await screens.comparePictures(laptop.page, phone.page);
    await screens.connected(phone.page, laptopName);
    await screens.accept(laptop.page);
    for (const badge of [screens.device(laptop.page, phoneName), screens.device(phone.page, laptopName)]) {
      const route = badge.getByTestId("route");
      await expect(route).toBeVisible();
      expect(await route.innerText(), "the first thing it says is right").toContain("Direct · LAN");
    }
    await laptop.page.screenshot({ path: join(ARTEFACTS, "laptop-receiving.png") });
    await screens.goTo(laptop.page, "Transfers");
    const film = screens.newestTransfer(laptop.page, "receive");
    await expect(film).toHaveAttribute("data-state", "done", { timeout: 150_000 });
    const [saved] = await Promise.all([laptop.page.waitForEvent("download"), film.getByTestId("save").click()]);
    expect(await hashOf(await saved.path())).toBe(await hashOf(join(dir, "film.mov")));

    await screens.sendFolder(phone.page, laptopName, join(dir, "Photos"));
    await screens.accept(laptop.page);
    await screens.goTo(laptop.page, "Transfers");
    const photos = screens.newestTransfer(laptop.page, "receive");
    await expect(photos).toHaveAttribute("data-state", "done", { timeout: 120_000 });
    const [zipped] = await Promise.all([laptop.page.waitForEvent("download"), photos.getByTestId("save").click()]);
    const unpacked = join(dir, "unpacked");
    execFileSync("python3", ["-m", "zipfile", "-e", await zipped.path(), unpacked]);
    expect(await hashesBelow(join(unpacked, "Photos"))).toEqual(await hashesBelow(join(dir, "Photos")));

    await screens.sendFiles(laptop.page, phoneName, join(dir, "music.flac"));
    await screens.accept(phone.page);
    await screens.goTo(phone.page, "Transfers");
    const music = screens.newestTransfer(phone.page, "receive");
    await expect(music).toHaveAttribute("data-state", "done", { timeout: 120_000 });
    const [download] = await Promise.all([phone.page.waitForEvent("download"), music.getByTestId("save").click()]);
    expect(await hashOf(await download.path())).toBe(await hashOf(join(dir, "music.flac")));
    await expect(music.getByTestId("route")).toContainText("Direct · LAN");
  } finally {
    await phone.close();
    await laptop.close();
    await agent.stop();
    await lab.stop();
  }
});

/** The names that `lanyard devices` prints. */
async function listed(agent: Agent): Promise<string[]> {
  const devices = agent.command("devices");
  expect(await devices.ended()).toBe(0);
  return devices.printed.split("\n");
}
