// A page and an agent meet by each way there is, on plain http and on https, move a file, and both say how sure they are.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { expect, test, type Page } from "@playwright/test";

import { Agent } from "../src/agent.ts";
import { Lab } from "../src/lab.ts";
import { Phone } from "../src/phone.ts";
import { Relay } from "../src/relay.ts";
import * as screens from "../src/screens.ts";

const CONTENT = "met in one of four ways\n";

let dir: string;
let file: string;
let lab: Lab;
let relay: Relay;
let agent: Agent;
let phones: Phone[];

test.beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), "lanyard-files-"));
  file = join(dir, "way.txt");
  writeFileSync(file, CONTENT);
  phones = [];
  lab = await Lab.lan("relay", "pc", "phone", "tablet");
  relay = await Relay.up(lab.host("relay"));
});

test.afterEach(async () => {
  for (const phone of phones) await phone.close();
  await agent.stop();
  await relay.stop();
  await lab.stop();
  rmSync(dir, { recursive: true, force: true });
});

async function phoneOn(host: string): Promise<Page> {
  const phone = await Phone.on(lab.host(host));
  phones.push(phone);
  return phone.page;
}

async function ownName(page: Page): Promise<string> {
  return (await page.getByTestId("own-badge").locator("bdi").first().innerText()).trim();
}

async function trusted(page: Page, name: string, trust: string): Promise<void> {
  await screens.connected(page, name);
  await expect(screens.device(page, name).getByTestId("trust")).toHaveAttribute("data-trust", trust);
}

/** The page sends, the agent's terminal names the way, and the file is there as it was. */
async function moves(page: Page, trust: string): Promise<void> {
  await trusted(page, agent.name, trust);
  const name = await ownName(page);
  await screens.sendFiles(page, agent.name, file);
  await screens.goTo(page, "Transfers");
  await expect(screens.newestTransfer(page, "send")).toHaveAttribute("data-state", "done");
  expect(readFileSync(join(agent.inbox, "way.txt"), "utf8")).toBe(CONTENT);
  expect(agent.program.printed).toContain(`Offered by ${name} (${trust})`);
}

/** The person at the agent's terminal finds the row that the page shows; then the one at the page agrees. */
async function pickInTerminal(page: Page): Promise<void> {
  const row = page.getByTestId("meeting").getByTestId("picture-row");
  await expect(row).toHaveCount(1);
  const shown = screens.symbols(await row.innerText());
  await agent.program.waitFor(/^ {2}3 {2}.+$/m);
  const rows = [1, 2, 3].map((number) => screens.symbols(new RegExp(`^ {2}${number} {2}(.+)$`, "m").exec(agent.program.printed)?.[1] ?? ""));
  expect(rows, "one of the rows in the terminal is the one on the page").toContain(shown);
  agent.program.type(String(rows.indexOf(shown) + 1));
  await page.getByTestId("confirm-pictures").click();
}

for (const door of ["http", "https"] as const) {
  const up = async (): Promise<void> => {
    agent = await Agent.up(lab.host("pc"), door === "https" ? { relay } : {});
  };

  test(`by link on ${door}`, async () => {
    await up();
    const page = await phoneOn("phone");
    await screens.openLink(page, door === "https" ? await agent.relayLink() : agent.link);
    await moves(page, "scanned");
  });

  test(`by the code of a page, typed in a terminal, on ${door}`, async () => {
    await up();
    const page = await phoneOn("phone");
    const base = door === "https" ? relay.https : new URL("/", agent.link).href;
    await page.goto(base);
    const code = await page.getByTestId("own-code").innerText();
    const sending = agent.command("send", file, "--to", "-", "--relay", base, "--name", "Studio PC");
    sending.typeLast(code.toUpperCase().replaceAll("-", " "));
    await screens.accept(page);
    await screens.goTo(page, "Transfers");
    const received = screens.newestTransfer(page, "receive");
    await expect(received).toHaveAttribute("data-state", "done");
    await expect(received).toContainText("way.txt");
    expect(await sending.ended(), sending.printed).toBe(0);
    expect(sending.printed).toContain("(code) is connected");
  });

  test(`by the code of a terminal, typed on a page, on ${door}`, async () => {
    await up();
    const page = await phoneOn("phone");
    await page.goto(door === "https" ? relay.https : new URL("/", agent.link).href);
    const where = door === "https" ? /relay's page/ : /type this code there/;
    await agent.program.waitFor(where);
    // Which of its codes is the one of this server is said by the number: the other one is not known here.
    await page.getByRole("button", { name: "Add a device" }).first().click();
    const codes = (): string[] => [...agent.program.printed.matchAll(/^\d{4,6}-[a-z]+-[a-z]+$/gm)].map(([code]) => code);
    await expect.poll(() => codes().length).toBe(door === "https" ? 2 : 1);
    for (const code of codes()) {
      const field = page.getByTestId("code-field");
      if (!(await field.isVisible())) await page.getByRole("button", { name: "Add a device" }).first().click();
      await field.fill(code);
      await page.getByTestId("add-device").getByRole("button", { name: "Connect", exact: true }).click();
      const met = screens.device(page, agent.name).and(page.locator("[data-presence=connected]"));
      const unknown = page.getByTestId("toast").filter({ hasText: "number" });
      await expect(met.or(unknown).first()).toBeVisible();
      if (await met.isVisible()) break;
    }
    await moves(page, "code");
  });
}

test("by pictures on http: a page that only opened the address", async () => {
  agent = await Agent.up(lab.host("pc"));
  const page = await phoneOn("phone");
  await page.goto(new URL("/", agent.link).href);
  const name = await ownName(page);
  await screens.sendFiles(page, agent.name, file);
  await pickInTerminal(page);
  await trusted(page, agent.name, "compared");
  await screens.goTo(page, "Transfers");
  await expect(screens.newestTransfer(page, "send")).toHaveAttribute("data-state", "done");
  expect(readFileSync(join(agent.inbox, "way.txt"), "utf8")).toBe(CONTENT);
  expect(agent.program.printed).toContain(`Offered by ${name} (compared)`);
});

test("by pictures on https: two pages, one of which is visible", async () => {
  agent = await Agent.up(lab.host("pc"));
  const [asked, shown] = [await phoneOn("phone"), await phoneOn("tablet")];
  for (const page of [asked, shown]) await page.goto(relay.https);
  await asked.getByRole("button", { name: "Visible for 10 minutes" }).click();
  const name = await ownName(asked);
  await screens.sendFiles(shown, name, file);
  await screens.comparePictures(asked, shown);
  await trusted(shown, name, "compared");
  await trusted(asked, await ownName(shown), "compared");
  await screens.accept(asked);
  await screens.goTo(asked, "Transfers");
  await expect(screens.newestTransfer(asked, "receive")).toHaveAttribute("data-state", "done");
});

test("as remembered devices on https, and never on http", async () => {
  agent = await Agent.up(lab.host("pc"), { relay });
  const page = await phoneOn("phone");
  await screens.openLink(page, await agent.relayLink());
  await screens.connected(page, agent.name);
  const name = await ownName(page);
  const sheet = await screens.openDevice(page, agent.name);
  await sheet.getByTestId("remember").click();
  await sheet.getByRole("button", { name: "Close" }).click();
  const trusting = agent.command("trust", name, "--policy", "accept");
  expect(await trusting.ended(), trusting.printed).toBe(0);
  await expect(page.getByText("remember each other now")).toBeVisible();
  // Another visit: nobody scans, types or taps.
  const again = await (phones[0] as Phone).context.newPage();
  await page.close();
  await again.goto(relay.https);
  await moves(again, "remembered");

  const plain = await phoneOn("tablet");
  await screens.openLink(plain, agent.newestLink);
  await screens.connected(plain, agent.name);
  const there = await screens.openDevice(plain, agent.name);
  await expect(there.getByTestId("remember-impossible")).toContainText("without https");
  await expect(there.getByTestId("remember")).toHaveCount(0);
});
