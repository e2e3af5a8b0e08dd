// Browsers and agents behind firewalls that leave little open meet at a relay and are relayed by it.

import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

import { expect, test, type Page } from "@playwright/test";

import { Agent } from "../src/agent.ts";
import { hashOf, writeRandomFile } from "../src/files.ts";
import { allowOnly, Lab, type Host } from "../src/lab.ts";
import { Phone } from "../src/phone.ts";
import { NAME, Relay } from "../src/relay.ts";
import * as screens from "../src/screens.ts";

const SIZE = 3_000_000;

interface Scene {
  readonly lab: Lab;
  readonly relay: Relay;
  readonly agent: Agent;
  readonly phone: Host;
  /** A file to send. */
  readonly file: string;
}

/** A relay with its page on port 443, an agent that shows a link there, and a host for a browser. */
async function meetAtRelay(limit: (host: Host, relay: Host) => void, body: (scene: Scene) => Promise<void>): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), "lanyard-files-"));
  const file = join(dir, "scan.pdf");
  writeRandomFile(file, SIZE, 7);
  const lab = await Lab.lan("relay", "pc", "phone");
  for (const name of ["pc", "phone"]) limit(lab.host(name), lab.host("relay"));
  const relay = await Relay.up(lab.host("relay"), { httpsPort: 443 });
  const agent = await Agent.up(lab.host("pc"), { relay });
  try {
    await body({ lab, relay, agent, phone: lab.host("phone"), file });
    expect(await hashOf(join(agent.inbox, "scan.pdf"))).toBe(await hashOf(file));
    // What went through TURN, rather than past it.
    expect(relay.metric("lanyard_turn_relayed_bytes_total")).toBeGreaterThan(SIZE);
  } finally {
    await agent.stop();
    await relay.stop();
    await lab.stop();
    rmSync(dir, { recursive: true, force: true });
  }
}

async function sendFromChromium({ agent, phone: host, file }: Scene, prepare: (page: Page) => Promise<void>): Promise<void> {
  const phone = await Phone.on(host);
  try {
    const { page } = phone;
    await prepare(page);
    await screens.openLink(page, await agent.relayLink());
    await screens.connected(page, agent.name);
    await expect(screens.device(page, agent.name).getByTestId("route")).toContainText("Relayed");
    await screens.sendFiles(page, agent.name, file);
    await screens.goTo(page, "Transfers");
    await expect(screens.newestTransfer(page, "send")).toHaveAttribute("data-state", "done", { timeout: 60_000 });
  } finally {
    await phone.close();
  }
}

const only443 = (host: Host, relay: Host): void => {
  allowOnly(host, [`ip daddr ${relay.ipv4} tcp dport 443`]);
};

test("a phone and an agent that may only use TCP 443 are relayed by themselves", async () => {
  await meetAtRelay(only443, async (scene) => {
    await sendFromChromium(scene, async () => {});
  });
});

for (const { way, pattern } of [
  { way: "TURN over UDP", pattern: "^turn:.*transport=udp" },
  { way: "TURN over TCP", pattern: "^turn:.*transport=tcp" },
  { way: "TURN over TLS on the page's port", pattern: "^turns:.*:443" },
]) {
  test(`a page that allows itself nothing but ${way} is relayed under the default policy`, async () => {
    await meetAtRelay(
      () => {},
      async (scene) => {
        await sendFromChromium(scene, async (page) => {
          await page.addInitScript((wanted) => {
            const Original = RTCPeerConnection;
            window.RTCPeerConnection = class extends Original {
              constructor(configuration: RTCConfiguration = {}) {
                const servers = (configuration.iceServers ?? []).map((server) => ({
                  ...server,
                  urls: [server.urls].flat().filter((url) => new RegExp(wanted).test(url)),
                }));
                super({ ...configuration, iceTransportPolicy: "relay", iceServers: servers.filter(({ urls }) => urls.length > 0) });
              }
            };
          }, pattern);
        });
      },
    );
  });
}

test("Firefox that may only use TCP 443 is relayed through TURN over TLS", async () => {
  await meetAtRelay(only443, async ({ agent, phone, file, relay }) => {
    const driver = join(import.meta.dirname, "../src/firefox.mjs");
    // Firefox asks TURN over TLS of a name only, never of an address.
    const link = (await agent.relayLink()).replace(new URL(relay.https).host, NAME);
    const args = [link, agent.name, file, relay.authority, new URL(relay.https).hostname];
    const command = ["netns", "exec", phone.namespace, process.execPath, driver, ...args];
    const { stdout } = await promisify(execFile)("ip", command, { timeout: 90_000 });
    expect(JSON.parse(stdout)).toEqual({ route: "Relayed", state: "done" });
  });
});
