// Devices that meet again without a human: remembered ones, sessions that come back, and what must stop them.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { expect, test, type Locator, type Page } from "@playwright/test";

import { Lab } from "../src/lab.ts";
import { Phone } from "../src/phone.ts";
import { Relay } from "../src/relay.ts";
import * as screens from "../src/screens.ts";

let dir: string;
let lab: Lab;
let relay: Relay;
let phones: Phone[];

test.beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), "lanyard-files-"));
  writeFileSync(join(dir, "notes.txt"), "kept in mind\n");
  phones = [];
  lab = await Lab.lan("relay", "phone", "tablet");
  relay = await Relay.up(lab.host("relay"));
});

test.afterEach(async () => {
  for (const phone of phones) await phone.close();
  await relay.stop();
  await lab.stop();
  rmSync(dir, { recursive: true, force: true });
});

async function phoneOn(host: string): Promise<Phone> {
  const phone = await Phone.on(lab.host(host));
  phones.push(phone);
  return phone;
}

async function open(page: Page, door: string, name?: string): Promise<void> {
  await page.goto(door);
  await expect(page.getByTestId("own-badge").locator("bdi").first()).not.toBeEmpty();
  if (name === undefined) return;
  await page.getByTestId("edit-name").click();
  await page.getByTestId("own-badge").locator("input").fill(name);
  await page.keyboard.press("Enter");
  await expect(page.getByTestId("own-badge").locator("bdi").first()).toHaveText(name);
}

/** The second page opens the link of the first. */
async function meet(shower: Page, showerName: string, opener: Page, openerName: string): Promise<void> {
  await screens.openLink(opener, await ownLink(shower));
  await screens.connected(opener, showerName);
  await screens.connected(shower, openerName);
}

async function ownLink(page: Page): Promise<string> {
  await page.getByRole("button", { name: "Add a device" }).first().click();
  const link = await page.getByTestId("own-link").inputValue();
  await page.getByTestId("add-device").getByRole("button", { name: "Close" }).click();
  return link;
}

function trust(page: Page, name: string): Locator {
  return screens.device(page, name).getByTestId("trust");
}

async function tickRemember(page: Page, name: string): Promise<void> {
  const sheet = await screens.openDevice(page, name);
  await expect(sheet.getByTestId("remember")).not.toBeChecked();
  // Not `check`: where both have agreed, the tick is gone with the click.
  await sheet.getByTestId("remember").click();
  await sheet.getByRole("button", { name: "Close" }).click();
}

/** Two pages on https that remember each other. */
async function remembering(): Promise<{ amber: Phone; violet: Phone }> {
  const [amber, violet] = [await phoneOn("phone"), await phoneOn("tablet")];
  await open(amber.page, relay.https, "Amber Heron");
  await open(violet.page, relay.https, "Violet Otter");
  await meet(amber.page, "Amber Heron", violet.page, "Violet Otter");
  await tickRemember(amber.page, "Violet Otter");
  await tickRemember(violet.page, "Amber Heron");
  await expect(amber.page.getByText("remember each other now")).toBeVisible();
  await expect(violet.page.getByText("remember each other now")).toBeVisible();
  return { amber, violet };
}

/** Closes the tab and opens another one of the same browser. */
async function visitAgain(phone: Phone, door: string): Promise<Page> {
  const page = await phone.context.newPage();
  for (const old of phone.context.pages()) if (old !== page) await old.close();
  await open(page, door);
  return page;
}

test("two that remember each other meet on the next visit by themselves, and files come by the policy that was set", async () => {
  const { amber, violet } = await remembering();
  await screens.goTo(amber.page, "Settings");
  const entry = amber.page.getByTestId("remembered-device").filter({ hasText: "Violet Otter" });
  await entry.getByTestId("policy").selectOption("accept_under");
  await entry.getByTestId("policy-limit").fill("1.5");
  await entry.getByTestId("policy-limit").press("Enter");

  const one = await visitAgain(amber, relay.https);
  const other = await visitAgain(violet, relay.https);
  await screens.connected(one, "Violet Otter");
  await screens.connected(other, "Amber Heron");
  await expect(trust(one, "Violet Otter")).toHaveAttribute("data-trust", "remembered");
  await expect(trust(other, "Amber Heron")).toHaveAttribute("data-trust", "remembered");

  await screens.sendFiles(other, "Amber Heron", join(dir, "notes.txt"));
  await screens.goTo(one, "Transfers");
  await expect(screens.newestTransfer(one, "receive")).toHaveAttribute("data-state", "done");
  await expect(one.getByTestId("offer")).toHaveCount(0);
});

test("forgetting asks, and drops the device on both sides", async () => {
  const { amber, violet } = await remembering();
  await screens.goTo(amber.page, "Settings");
  await amber.page.getByTestId("remembered-device").getByRole("button", { name: "Forget" }).click();
  await amber.page.getByTestId("forget-now").click();
  await expect(amber.page.getByTestId("remembered-device")).toHaveCount(0);
  await screens.goTo(violet.page, "Settings");
  await expect(violet.page.getByTestId("remembered-device")).toHaveCount(0);
});

test("a page that is loaded anew meets again with the trust that it had, and nobody does anything", async () => {
  const [amber, violet] = [await phoneOn("phone"), await phoneOn("tablet")];
  await open(amber.page, relay.https, "Amber Heron");
  await open(violet.page, relay.https, "Violet Otter");
  await meet(amber.page, "Amber Heron", violet.page, "Violet Otter");
  await violet.page.reload();
  await screens.connected(violet.page, "Amber Heron");
  await screens.connected(amber.page, "Violet Otter");
  await expect(trust(violet.page, "Amber Heron")).toHaveAttribute("data-trust", "scanned");
  const again = await visitAgain(violet, relay.https);
  await screens.connected(again, "Amber Heron");
  await screens.sendFiles(again, "Amber Heron", join(dir, "notes.txt"));
  await screens.accept(amber.page);
  await screens.goTo(amber.page, "Transfers");
  await expect(screens.newestTransfer(amber.page, "receive")).toHaveAttribute("data-state", "done");
});

test("a known name with another key is a red page, and only forgetting lets it in", async () => {
  const { amber, violet } = await remembering();
  // The browser's data is deleted: the same name, and a new key.
  await violet.page.goto("about:blank");
  await violet.context.newCDPSession(violet.page).then((devtools) =>
    devtools.send("Storage.clearDataForOrigin", { origin: new URL(relay.https).origin, storageTypes: "all" }),
  );
  await open(violet.page, relay.https, "Violet Otter");
  await screens.openLink(violet.page, await freshLink(amber.page));
  const alarm = amber.page.getByTestId("alarm");
  await expect(alarm).toContainText("has another key than before");
  await expect(screens.device(violet.page, "Amber Heron").and(violet.page.locator("[data-presence=connected]"))).toHaveCount(0);
  await alarm.getByTestId("alarm-stop").click();
  await expect(alarm).toHaveCount(0);

  await screens.openLink(violet.page, await freshLink(amber.page));
  await alarm.getByTestId("forget-and-pair").click();
  await expect(alarm).toHaveCount(0);
  // The sheet for adding a device is open, so that it can be paired again.
  await amber.page.getByTestId("add-device").getByRole("button", { name: "Close" }).click();
  await screens.openLink(violet.page, await freshLink(amber.page));
  await screens.connected(amber.page, "Violet Otter");
  await screens.connected(violet.page, "Amber Heron");
});

async function freshLink(page: Page): Promise<string> {
  await page.keyboard.press("n");
  await expect(page.getByTestId("own-link")).toBeVisible();
  const link = await page.getByTestId("own-link").inputValue();
  await page.keyboard.press("Escape");
  await expect(page.getByTestId("add-device")).toHaveCount(0);
  return link;
}

test("two tabs of one browser: one answers, the other takes over", async () => {
  const { amber, violet } = await remembering();
  const second = await violet.context.newPage();
  await open(second, relay.https);
  await expect(second.getByTestId("absent")).toBeVisible();
  await second.getByTestId("absent").locator("summary").click();
  await expect(screens.device(second, "Amber Heron")).toContainText("Another tab of this browser");
  await screens.connected(violet.page, "Amber Heron");
  await violet.page.close();
  await screens.connected(second, "Amber Heron");
  await screens.connected(amber.page, "Violet Otter");
});

test("on plain http nothing is remembered, and the page says why", async () => {
  const [amber, violet] = [await phoneOn("phone"), await phoneOn("tablet")];
  await open(amber.page, relay.http, "Amber Heron");
  await open(violet.page, relay.http, "Violet Otter");
  await meet(amber.page, "Amber Heron", violet.page, "Violet Otter");
  const sheet = await screens.openDevice(amber.page, "Violet Otter");
  await expect(sheet.getByTestId("remember-impossible")).toContainText("without https");
  await expect(sheet.getByTestId("remember")).toHaveCount(0);
});
