// What a secure page received leaves it through the service worker, as the browser's own download.

import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { expect, test, type Download, type Page } from "@playwright/test";

import type { Agent } from "../src/agent.ts";
import { hashOf, hashesBelow, writeRandomFile } from "../src/files.ts";
import { OneHost } from "../src/one_host.ts";
import type { Phone } from "../src/phone.ts";
import * as screens from "../src/screens.ts";
import { seed, tellSeed } from "../src/seed.ts";

const MB = 1_000_000;

let host: OneHost;
let dir: string;
let agent: Agent;
let phone: Phone;
let name: string;

test.beforeEach(async () => {
  tellSeed();
  host = await OneHost.up();
  ({ dir, agent, phone } = host);
  name = await screens.connectSecurely(phone.page, agent);
});

test.afterEach(() => host.down());

async function receive(page: Page, path: string): Promise<void> {
  const send = agent.command("send", path, "--to", name);
  await screens.accept(page);
  await screens.goTo(page, "Transfers");
  await expect(screens.newestTransfer(page, "receive")).toHaveAttribute("data-state", "done", { timeout: 120_000 });
  expect(await send.ended(), send.printed).toBe(0);
}

async function save(page: Page): Promise<Download> {
  const [download] = await Promise.all([page.waitForEvent("download"), screens.newestTransfer(page, "receive").getByTestId("save").click()]);
  // A stream of the worker, and nothing that the server or the page's memory had to hold.
  expect(new URL(download.url()).pathname).toMatch(/^\/_save\//);
  return download;
}

test("a file leaves the page as it came, and its copy goes when it is removed", async () => {
  const path = join(dir, "größe — 1.mov");
  writeRandomFile(path, 60 * MB, seed);
  await receive(phone.page, path);
  const download = await save(phone.page);
  expect(download.suggestedFilename()).toBe("größe — 1.mov");
  expect(await hashOf(await download.path())).toBe(await hashOf(path));

  await screens.goTo(phone.page, "Settings");
  await expect(phone.page.getByTestId("stored")).toHaveCount(1);
  await phone.page.getByTestId("delete-stored").click();
  await expect(phone.page.getByTestId("stored")).toHaveCount(0);
  const left = phone.page.evaluate(async () => {
    const root = await navigator.storage.getDirectory();
    const names: string[] = [];
    for await (const one of (await root.getDirectoryHandle("lanyard-received")).keys()) names.push(one);
    return names;
  });
  expect(await left).toEqual([]);
});

test("a folder leaves the page as one zip, also after a reload", async () => {
  const root = join(dir, "Photos");
  for (let i = 0; i < 40; i++) writeRandomFile(join(root, `${i % 3}`, `IMG_${i}.heic`), 1 + ((i * 97_777) % 900_000), seed + i);
  writeFileSync(join(root, "empty.txt"), "");
  await receive(phone.page, root);
  await phone.page.reload();
  await screens.goTo(phone.page, "Transfers");
  const download = await save(phone.page);
  expect(download.suggestedFilename()).toBe("Photos.zip");
  const unpacked = join(dir, "unpacked");
  const script = "import sys, zipfile; zipfile.ZipFile(sys.argv[1]).extractall(sys.argv[2])";
  execFileSync("python3", ["-c", script, await download.path(), unpacked]);
  expect(await hashesBelow(join(unpacked, "Photos"))).toEqual(await hashesBelow(root));
});

test("a file beyond half of the free space goes where the person chooses", async () => {
  const path = join(dir, "film.mov");
  writeRandomFile(path, 40 * MB, seed);
  // No test can use the real picker: the place is a file in the page's private file system.
  await phone.page.evaluate(() => {
    navigator.storage.estimate = () => Promise.resolve({ quota: 130_000_000, usage: 0 });
    Object.assign(window, {
      showSaveFilePicker: async () => (await navigator.storage.getDirectory()).getFileHandle("chosen.mov", { create: true }),
    });
  });
  const send = agent.command("send", path, "--to", name);
  await expect(phone.page.getByTestId("pick-place")).toBeVisible();
  await expect(phone.page.getByTestId("accept")).toHaveText("Choose where to save");
  await screens.accept(phone.page);
  await screens.goTo(phone.page, "Transfers");
  await expect(screens.newestTransfer(phone.page, "receive")).toHaveAttribute("data-state", "done", { timeout: 120_000 });
  expect(await send.ended(), send.printed).toBe(0);
  const size = phone.page.evaluate(async () => (await (await (await navigator.storage.getDirectory()).getFileHandle("chosen.mov")).getFile()).size);
  expect(await size).toBe(40 * MB);
});

test("the page opens when its server is out of reach", async () => {
  await phone.page.evaluate(async () => {
    await navigator.serviceWorker.ready;
  });
  await agent.program.stop("SIGTERM");
  await phone.page.goto(new URL("/transfers", phone.page.url()).href);
  await expect(phone.page.getByRole("heading", { name: "Transfers" })).toBeVisible();
});
