// When nothing direct works, the packets go through the agent's own TURN server, under its default policy.

import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { expect, test } from "@playwright/test";

import { Agent } from "../src/agent.ts";
import { hashOf, writeRandomFile } from "../src/files.ts";
import { Lab, type Host } from "../src/lab.ts";
import { Phone } from "../src/phone.ts";
import * as screens from "../src/screens.ts";

/** Drops what a host sends and gets by UDP, except what `allowed` lets through. */
function blockUdp(host: Host, allowed: readonly string[]): void {
  const rules = [
    "table inet firewall {",
    "chain out { type filter hook output priority 0; oifname \"eth0\" jump udp_rules; }",
    "chain in { type filter hook input priority 0; iifname \"eth0\" jump udp_rules; }",
    `chain udp_rules { ${allowed.map((match) => `${match} accept;`).join(" ")} meta l4proto udp drop; }`,
    "}",
  ];
  execFileSync("ip", ["netns", "exec", host.namespace, "nft", "-f", "-"], { input: rules.join("\n") });
}

for (const { way, allowed } of [
  { way: "TURN over UDP", allowed: ["udp dport 3478", "udp sport 3478"] },
  { way: "TURN over TCP", allowed: [] },
]) {
  test(`a phone that can only use ${way} is relayed, and says so`, async () => {
    const dir = mkdtempSync(join(tmpdir(), "lanyard-files-"));
    writeRandomFile(join(dir, "scan.pdf"), 5_000_000, 6);
    const lab = await Lab.lan("pc", "phone");
    blockUdp(lab.host("phone"), allowed);
    const agent = await Agent.up(lab.host("pc"));
    const phone = await Phone.on(lab.host("phone"));
    try {
      const { page } = phone;
      await screens.openLink(page, agent.link);
      await screens.connected(page, agent.name);
      await expect(screens.device(page, agent.name).getByTestId("route")).toContainText("Relayed");
      await screens.sendFiles(page, agent.name, join(dir, "scan.pdf"));
      await screens.goTo(page, "Transfers");
      await expect(screens.newestTransfer(page, "send")).toHaveAttribute("data-state", "done", { timeout: 60_000 });
      expect(await hashOf(join(agent.inbox, "scan.pdf"))).toBe(await hashOf(join(dir, "scan.pdf")));
    } finally {
      await phone.close();
      await agent.stop();
      await lab.stop();
      rmSync(dir, { recursive: true, force: true });
    }
  });
}
