// Many small files into a page.

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { expect, test } from "@playwright/test";

import type { Agent } from "../src/agent.ts";
import { OneHost } from "../src/one_host.ts";
import type { Phone } from "../src/phone.ts";
import * as screens from "../src/screens.ts";

const FILES = 500;

let host: OneHost;
let dir: string;
let agent: Agent;
let phone: Phone;

test.beforeEach(async () => {
  host = await OneHost.up({ exposeGc: true });
  ({ dir, agent, phone } = host);
});

test.afterEach(() => host.down());

// Chromium never answers what was asked of a file's handle that is collected meanwhile.
test("all of them arrive though garbage is collected all the time", async () => {
  const folder = join(dir, "many");
  mkdirSync(folder);
  for (let file = 0; file < FILES; file += 1) writeFileSync(join(folder, `${file}.txt`), `file ${file}\n`);
  const name = await screens.connectSecurely(phone.page, agent);
  await expect.poll(() => phone.page.workers().length).toBeGreaterThan(0);
  for (const worker of phone.page.workers()) {
    await worker.evaluate(() => {
      const collect: unknown = Reflect.get(globalThis, "gc");
      if (typeof collect !== "function") throw new Error("garbage cannot be collected here");
      setInterval(() => Reflect.apply(collect, undefined, []), 1);
    });
  }
  const sending = agent.command("send", folder, "--to", name);
  await screens.accept(phone.page);
  await screens.goTo(phone.page, "Transfers");
  await expect(screens.newestTransfer(phone.page, "receive")).toHaveAttribute("data-state", "done", { timeout: 60_000 });
  expect(await sending.ended(), sending.printed).toBe(0);
});
