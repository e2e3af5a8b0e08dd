// A page reaches an agent that its own agent sees, through a mailbox that the two agents bridge.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { expect, test } from "@playwright/test";

import { Agent } from "../src/agent.ts";
import { hashOf, writeRandomFile } from "../src/files.ts";
import { Lab } from "../src/lab.ts";
import { Phone } from "../src/phone.ts";
import * as screens from "../src/screens.ts";

test("a phone sends to another agent of the network after comparing pictures", async () => {
  const dir = mkdtempSync(join(tmpdir(), "lanyard-files-"));
  writeRandomFile(join(dir, "scan.pdf"), 3_000_000, 5);
  const lab = await Lab.lan("pc", "attic", "phone");
  const studio = await Agent.up(lab.host("pc"));
  const attic = await Agent.up(lab.host("attic"), { name: "Attic NAS" });
  const phone = await Phone.on(lab.host("phone"));
  try {
    const { page } = phone;
    await screens.openLink(page, studio.link);
    await screens.connected(page, studio.name);
    await screens.sendFiles(page, attic.name, join(dir, "scan.pdf"));

    const row = page.getByTestId("meeting").getByTestId("picture-row");
    await expect(row).toHaveCount(1);
    const shown = screens.symbols(await row.innerText());
    await attic.program.waitFor(/^ {2}3 {2}.+$/m);
    const rows = [1, 2, 3].map((number) => screens.symbols(attic.program.printed.match(new RegExp(`^ {2}${number} {2}(.+)$`, "m"))?.[1] ?? ""));
    expect(rows, "one of the rows in the terminal is the one on the phone").toContain(shown);
    attic.program.type(String(rows.indexOf(shown) + 1));
    await page.getByTestId("confirm-pictures").click();

    await screens.connected(page, attic.name);
    await expect(screens.device(page, attic.name).getByTestId("trust")).toHaveAttribute("data-trust", "compared");
    await screens.goTo(page, "Transfers");
    await expect(screens.newestTransfer(page, "send")).toHaveAttribute("data-state", "done");
    expect(await hashOf(join(attic.inbox, "scan.pdf"))).toBe(await hashOf(join(dir, "scan.pdf")));
  } finally {
    await phone.close();
    await attic.stop();
    await studio.stop();
    await lab.stop();
    rmSync(dir, { recursive: true, force: true });
  }
});
