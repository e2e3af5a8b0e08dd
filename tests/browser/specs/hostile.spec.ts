// A page and an agent through a relay that tampers: nobody authenticates, and both people learn why. Untouched meetings
// connect. `cargo xtask hostile-relay` runs this with 200 pages.

import { expect, test, type Page } from "@playwright/test";

import { Lab } from "../src/lab.ts";
import { Phone } from "../src/phone.ts";
import { Program, built } from "../src/program.ts";
import { seed, tellSeed } from "../src/seed.ts";

const PAGES = Number(process.env["LANYARD_HOSTILE_PAGES"] ?? 14);
const HONEST_EVERY = 10;

interface Outcome {
  readonly applied: boolean;
  readonly action: string;
  readonly linked: boolean;
  readonly reason: string | null;
  readonly tampering: string;
}

/** What the page told its person, from its first moment on. */
async function told(page: Page): Promise<{ notices: string[]; connected: boolean }> {
  return await page.evaluate(() => {
    const { notices, connected } = (globalThis as unknown as { told: { notices: Set<string>; connected: boolean } }).told;
    return { notices: [...notices], connected };
  });
}

async function listen(page: Page): Promise<void> {
  await page.addInitScript(() => {
    const heard = { notices: new Set<string>(), connected: false };
    (globalThis as unknown as { told: typeof heard }).told = heard;
    const look = (): void => {
      const notices = document.querySelectorAll("[data-testid=toast]:not([data-kind=device_connected]), [data-testid=invitation] [role=alert]");
      for (const notice of notices) heard.notices.add(notice.textContent?.trim() ?? "");
      if (document.querySelector("[data-testid=device][data-presence=connected]") !== null) heard.connected = true;
    };
    new MutationObserver(look).observe(document, { childList: true, subtree: true, attributes: true, characterData: true });
  });
}

/** Answers come one a line. */
class Relay {
  readonly #program: Program;
  #taken = 0;

  constructor(program: Program) {
    this.#program = program;
  }

  ask(request: object): void {
    this.#program.type(JSON.stringify(request));
  }

  async answer(): Promise<Record<string, unknown>> {
    const line = new RegExp(`^(?:[^\\n]*\\n){${this.#taken}}([^\\n]+)\\n`);
    const match = await this.#program.waitFor(line, 150_000);
    this.#taken += 1;
    return JSON.parse(match[1] ?? "") as Record<string, unknown>;
  }
}

test(`${PAGES} tampered meetings of a page and an agent authenticate nobody, and both people learn why`, async () => {
  test.setTimeout(120_000 + PAGES * 30_000);
  tellSeed();
  const lab = await Lab.lan("relay", "phone");
  const host = lab.host("relay");
  const args = ["netns", "exec", host.namespace, built("hostile-relay"), "pages", host.ipv4, String(seed)];
  const program = new Program("hostile-relay", "ip", args);
  const relay = new Relay(program);
  const phone = await Phone.on(lab.host("phone"));
  const wrong: string[] = [];
  const counts = new Map<string, number>();
  let [tampered, connected, meetings] = [0, 0, 0];
  try {
    const { page } = phone;
    await listen(page);
    const { page: address } = await relay.answer();
    for (; tampered < PAGES && meetings < 3 * PAGES + 20; meetings++) {
      const honest = meetings % HONEST_EVERY === 0;
      const pageShows = meetings % 2 === 1 || meetings % 20 === 0;
      await page.goto("about:blank");
      if (pageShows) {
        await page.goto(String(address));
        await page.getByTestId("own-badge").locator("button.qr").click();
        const link = await page.getByTestId("own-link").inputValue();
        await page.keyboard.press("Escape");
        relay.ask({ open: link, honest });
      } else {
        relay.ask({ show: true, honest });
        const { link } = await relay.answer();
        await page.goto(String(link));
        await page.getByRole("button", { name: "Connect", exact: true }).click();
      }
      const outcome = (await relay.answer()) as unknown as Outcome;
      const described = `${meetings} (page ${pageShows ? "shows" : "opens"}): ${JSON.stringify(outcome)}`;
      if (!outcome.applied) {
        await expect.poll(async () => (await told(page)).connected, { message: `connects: ${described}`, timeout: 30_000 }).toBe(true);
        connected += 1;
        continue;
      }
      tampered += 1;
      counts.set(outcome.action, (counts.get(outcome.action) ?? 0) + 1);
      try {
        await expect.poll(async () => (await told(page)).notices.length, { timeout: 40_000 }).toBeGreaterThan(0);
      } catch {
        wrong.push(`the page said nothing: ${described}`);
      }
      if (outcome.linked || (await told(page)).connected) wrong.push(`authenticated: ${described}`);
      if (outcome.reason === null) wrong.push(`the agent said nothing: ${described}`);
    }
  } finally {
    console.log(`${tampered} tampered (${JSON.stringify(Object.fromEntries(counts))}), ${connected} untouched and connected`);
    await phone.close();
    await program.stop();
    await lab.stop();
  }
  expect(wrong).toEqual([]);
  expect(tampered).toBeGreaterThanOrEqual(PAGES);
  expect(connected).toBeGreaterThan(0);
});
