// Memory stays flat however large the file is.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { expect, test } from "@playwright/test";

import { Agent } from "../src/agent.ts";
import { hashOf, writeRandomFile } from "../src/files.ts";
import { Lab } from "../src/lab.ts";
import { Phone } from "../src/phone.ts";
import * as screens from "../src/screens.ts";

const MB = 1_000_000;

test("heap and resident memory stay flat while a page sends 2 GB to the agent", { tag: "@large" }, async () => {
  test.setTimeout(900_000);
  const dir = mkdtempSync(join(tmpdir(), "lanyard-files-"));
  const path = join(dir, "large.bin");
  writeRandomFile(path, 2_000 * MB, 7);
  const lab = await Lab.lan("pc", "phone");
  const agent = await Agent.up(lab.host("pc"));
  const phone = await Phone.on(lab.host("phone"));
  try {
    await screens.openLink(phone.page, agent.link);
    await screens.connected(phone.page, agent.name);
    const before = await phone.heapBytes();
    const started = Date.now();
    await screens.sendFiles(phone.page, agent.name, path);
    await screens.goTo(phone.page, "Transfers");
    const row = screens.newestTransfer(phone.page, "send");
    const samples: { heap: number; resident: number }[] = [];
    while ((await row.getAttribute("data-state")) !== "done") {
      expect(["waiting", "moving"]).toContain(await row.getAttribute("data-state"));
      samples.push({ heap: await phone.heapBytes(), resident: agent.program.residentBytes() });
      await phone.page.waitForTimeout(1000);
    }
    const seconds = (Date.now() - started) / 1000;
    const heap = Math.max(...samples.map((sample) => sample.heap));
    const resident = agent.program.peakResidentBytes();
    const mb = (bytes: number): string => `${(bytes / MB).toFixed(0)} MB`;
    console.log(`2 GB in ${seconds.toFixed(0)} s; heap ${mb(before)} before, ${mb(heap)} at most; agent ${mb(resident)} at most`);
    expect(resident, "resident memory of the agent").toBeLessThan(96 * 1024 * 1024);
    expect(heap - before, "growth of the page's heap").toBeLessThan(64 * MB);
    expect(await hashOf(join(agent.inbox, "large.bin"))).toBe(await hashOf(path));
  } finally {
    await phone.close();
    await agent.stop();
    await lab.stop();
    rmSync(dir, { recursive: true, force: true });
  }
});
