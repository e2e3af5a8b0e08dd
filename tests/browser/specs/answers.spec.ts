// Saying no, changing one's mind, and text.

import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { expect, test } from "@playwright/test";

import { Agent } from "../src/agent.ts";
import { writeRandomFile } from "../src/files.ts";
import { Lab } from "../src/lab.ts";
import { Phone } from "../src/phone.ts";
import * as screens from "../src/screens.ts";

let dir: string;
let lab: Lab;
let agent: Agent;
let phone: Phone;
let phoneName: string;

test.beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), "lanyard-files-"));
  lab = await Lab.lan("pc", "phone");
  agent = await Agent.up(lab.host("pc"));
  phone = await Phone.on(lab.host("phone"));
  await screens.openLink(phone.page, agent.link);
  await screens.connected(phone.page, agent.name);
  phoneName = (await phone.page.getByTestId("own-badge").locator("bdi").first().innerText()).trim();
});

test.afterEach(async () => {
  await phone.close();
  await agent.stop();
  await lab.stop();
  rmSync(dir, { recursive: true, force: true });
});

/** Names in the receive folder; the folder of unfinished files counts only while something is in it. */
function received(): string[] {
  const parts = join(agent.inbox, ".lanyard-part");
  const unfinished = existsSync(parts) ? readdirSync(parts) : [];
  return [...readdirSync(agent.inbox).filter((name) => name !== ".lanyard-part"), ...unfinished];
}

test("a page that declines gets nothing, and the sender is told", async () => {
  writeRandomFile(join(dir, "music.flac"), 5_000_000, 1);
  const send = agent.command("send", join(dir, "music.flac"), "--to", phoneName);
  await expect(phone.page.getByTestId("offer")).toBeVisible();
  await phone.page.getByTestId("decline").click();
  expect(await send.ended(), send.printed).toBe(4);
  await screens.goTo(phone.page, "Transfers");
  await expect(phone.page.locator("[data-testid=transfer][data-state=done]")).toHaveCount(0);
});

test("cancelling on the page stops the agent at once and leaves no file", async () => {
  writeRandomFile(join(dir, "film.mov"), 300_000_000, 2);
  await screens.sendFiles(phone.page, agent.name, join(dir, "film.mov"));
  await screens.goTo(phone.page, "Transfers");
  const row = screens.newestTransfer(phone.page, "send");
  await expect(row).toHaveAttribute("data-state", "moving");
  await expect(row.getByTestId("percent")).not.toHaveText("0 %");
  expect(readdirSync(agent.inbox), "no final name before the end").not.toContain("film.mov");
  await row.getByTestId("cancel").click();
  await phone.page.getByTestId("confirm-cancel").click();
  await expect(row).toHaveAttribute("data-state", "cancelled");
  await expect.poll(received).toEqual([]);
});

test("stopping the sending command stops the page, which keeps no file", async () => {
  writeRandomFile(join(dir, "music.flac"), 200_000_000, 3);
  const send = agent.command("send", join(dir, "music.flac"), "--to", phoneName);
  await screens.accept(phone.page);
  await screens.goTo(phone.page, "Transfers");
  const row = screens.newestTransfer(phone.page, "receive");
  await expect(row).toHaveAttribute("data-state", "moving");
  await expect(row.getByTestId("percent")).not.toHaveText("0 %");
  expect(await send.stop("SIGINT"), send.printed).toBe(130);
  await expect(row).toHaveAttribute("data-state", "cancelled");
  await expect(row.getByTestId("save")).toHaveCount(0);
});

test("text goes both ways, is shown as text, and arrives once", async () => {
  const hostile = "<img src=x onerror=alert(1)> ‮ see you at 8";
  const { page } = phone;
  await screens.goTo(page, "Text");
  await page.getByTestId("text-box").fill("hello from the phone");
  await page.getByRole("radio", { name: agent.name }).check({ force: true });
  await page.getByTestId("send-text").click();
  await agent.program.waitFor(/hello from the phone/);
  const send = agent.command("send", "-t", hostile, "--to", phoneName);
  expect(await send.ended(), send.printed).toBe(0);
  const received = page.locator("[data-testid=text][data-direction=receive]");
  await expect(received).toHaveCount(1);
  await expect(received).toContainText("<img src=x onerror=alert(1)>");
  expect(await page.locator("main img").count()).toBe(0);
});
