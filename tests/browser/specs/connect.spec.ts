// Run by `cargo xtask bench connect`: starts programs and a page from cold, and prints when each step came.

import { expect, test } from "@playwright/test";

import { Agent } from "../src/agent.ts";
import { Lab } from "../src/lab.ts";
import { Phone } from "../src/phone.ts";
import { Relay } from "../src/relay.ts";
import { STEPS, times, watchSteps, type Times } from "../src/steps.ts";

const RUNS = Number(process.env["LANYARD_BENCH_RUNS"] ?? "7");

/** One run: a browser that has seen nothing yet opens the link as soon as it is there. */
interface Started {
  readonly link: string;
  readonly startedAtMs: number;
  /** What came before the page, in milliseconds since 1970. */
  readonly before: Readonly<Record<string, number>>;
  stop(): Promise<void>;
}

async function withAgent(lab: Lab): Promise<Started> {
  const agent = await Agent.up(lab.host("pc"));
  const { startedAtMs } = agent.program;
  return { link: agent.link, startedAtMs, before: { "agent shows its link": Date.now() }, stop: () => agent.stop() };
}

async function withRelay(lab: Lab): Promise<Started> {
  const relay = await Relay.up(lab.host("relay"));
  const { startedAtMs } = relay.program;
  const relayUp = Date.now();
  const agent = await Agent.up(lab.host("pc"), { relay });
  const link = await agent.relayLink();
  const stop = async (): Promise<void> => {
    await agent.stop();
    await relay.stop();
  };
  return { link, startedAtMs, before: { "relay serves": relayUp, "agent shows its link": Date.now() }, stop };
}

async function measure(way: string, start: (lab: Lab) => Promise<Started>): Promise<void> {
  for (let run = 0; run < RUNS; run += 1) {
    const lab = await Lab.lan("relay", "pc", "phone");
    const phone = await Phone.on(lab.host("phone"));
    await watchSteps(phone.page);
    const started = await start(lab);
    try {
      const asked = Date.now();
      await phone.page.goto(started.link, { waitUntil: "commit" });
      let seen: Times = {};
      await expect.poll(async () => (seen = await times(phone.page)).bound ?? 0).toBeGreaterThan(0);
      const all: Record<string, number> = { ...started.before, "link is opened": asked };
      for (const step of STEPS) {
        const at = seen[step];
        if (at !== undefined) all[step] = at;
      }
      const since = Object.entries(all).map(([step, at]) => [step, at - started.startedAtMs]);
      console.log(`bench: ${JSON.stringify({ way, steps: since })}`);
    } finally {
      await phone.close();
      await started.stop();
      await lab.stop();
    }
  }
}

test("an agent from cold, and a page of its own", { tag: "@bench" }, async () => {
  test.setTimeout(RUNS * 60_000);
  await measure("agent and its page", withAgent);
});

test("a relay and an agent from cold, and a page of the relay", { tag: "@bench" }, async () => {
  test.setTimeout(RUNS * 60_000);
  await measure("relay, agent and page", withRelay);
});
