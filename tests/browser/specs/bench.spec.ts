// Run by `cargo xtask bench transfer`: moves what it is told to, by pages, and prints what that took.

import { readFileSync, readdirSync, statSync } from "node:fs";
import { basename } from "node:path";

import { expect, test } from "@playwright/test";

import { Agent } from "../src/agent.ts";
import { Lab, type Host } from "../src/lab.ts";
import { DESKTOP, Phone } from "../src/phone.ts";
import * as screens from "../src/screens.ts";

const source = process.env["LANYARD_BENCH_SOURCE"] ?? "";
const onLoopback = process.env["LANYARD_BENCH_PLACE"] === "loopback";
const PATIENCE_MS = 1_800_000;
/** Clock ticks a second in /proc/PID/stat. */
const TICKS = 100;

let lab: Lab;
let agent: Agent;
let hosts: Host[];

test.beforeEach(async () => {
  test.setTimeout(PATIENCE_MS + 120_000);
  lab = await Lab.lan("pc", "phone", "laptop");
  const pc = lab.host("pc");
  // On its own host a page has an origin that browsers hold to be secure; on another one the browser is told to take it for
  // one, as it would with a certificate: else it could not hold what is moved.
  hosts = onLoopback ? [pc, pc, pc] : [pc, lab.host("phone"), lab.host("laptop")];
  agent = await Agent.up(pc);
});

test.afterEach(async () => {
  await agent.stop();
  await lab.stop();
});

/** The processes of the lab: what they used so far, and their peaks of memory. */
function usage(): { ticks: number; resident: number } {
  const namespaces = new Set(hosts.map((host) => statSync(`/run/netns/${host.namespace}`).ino));
  let [ticks, resident] = [0, 0];
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      if (!namespaces.has(statSync(`/proc/${pid}/ns/net`).ino)) continue;
      const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ") ?? [];
      ticks += Number(fields[11]) + Number(fields[12]);
      resident += Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) * 1024;
    } catch {
      // It ended meanwhile.
    }
  }
  return { ticks, resident };
}

async function measured(way: string, move: () => Promise<void>): Promise<void> {
  const [before, begun] = [usage(), Date.now()];
  await move();
  const [after, seconds] = [usage(), (Date.now() - begun) / 1000];
  const cpu_seconds = (after.ticks - before.ticks) / TICKS;
  console.log(`bench: ${JSON.stringify({ way, seconds, cpu_seconds, resident_bytes: after.resident })}`);
}

async function connect(number: number): Promise<{ phone: Phone; name: string }> {
  const host = hosts[number] ?? hosts[0];
  if (host === undefined) throw new Error("no host");
  const link = onLoopback ? screens.secure(agent.newestLink) : agent.newestLink;
  const phone = await Phone.on(host, { viewport: DESKTOP, secureOrigin: new URL(link).origin });
  await screens.openLink(phone.page, link);
  await screens.connected(phone.page, agent.name);
  await expect.poll(() => agent.newestLink).not.toBe(link);
  const name = (await phone.page.getByTestId("own-badge").locator("bdi").first().innerText()).trim();
  return { phone, name };
}

async function send(phone: Phone, to: string): Promise<void> {
  if (statSync(source).isDirectory()) await screens.sendFolder(phone.page, to, source);
  else await screens.sendFiles(phone.page, to, source);
}

async function done(phone: Phone, direction: "send" | "receive"): Promise<void> {
  await screens.goTo(phone.page, "Transfers");
  const row = screens.newestTransfer(phone.page, direction);
  await expect(row).toHaveAttribute("data-state", "done", { timeout: PATIENCE_MS });
}

test(`page to agent: ${basename(source)}`, { tag: "@bench" }, async () => {
  const { phone } = await connect(1);
  await measured("page to agent", async () => {
    await send(phone, agent.name);
    await done(phone, "send");
  });
  await phone.close();
});

test(`agent to page: ${basename(source)}`, { tag: "@bench" }, async () => {
  const { phone, name } = await connect(1);
  await measured("agent to page", async () => {
    const sending = agent.command("send", source, "--to", name);
    await screens.accept(phone.page);
    await done(phone, "receive");
    expect(await sending.ended(), sending.printed).toBe(0);
  });
  await phone.close();
});

test(`page to page: ${basename(source)}`, { tag: "@bench" }, async () => {
  const first = await connect(1);
  const second = await connect(2);
  // The first file meets; what counts comes after.
  await send(first.phone, second.name);
  await screens.comparePictures(second.phone.page, first.phone.page);
  await screens.connected(first.phone.page, second.name);
  await measured("page to page", async () => {
    await screens.accept(second.phone.page);
    await done(second.phone, "receive");
  });
  await first.phone.close();
  await second.phone.close();
});
