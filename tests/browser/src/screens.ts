// What a person does on the page, in the words of the page.

import { expect, type Locator, type Page } from "@playwright/test";

/** Opens an agent's link as a scan would, and gives the one tap it needs. */
export async function openLink(page: Page, link: string): Promise<void> {
  await page.goto(link);
  await expect(page.getByTestId("invitation")).toBeVisible();
  expect(new URL(page.url()).hash, "the secret leaves the address bar at once").toBe("");
  await page.getByRole("button", { name: "Connect", exact: true }).click();
}

/** The agent's link on an origin that browsers hold to be secure: the browser runs on the agent's own host. */
export function secure(link: string): string {
  const url = new URL(link);
  url.hostname = "localhost";
  return url.href;
}

/** Meets the agent on a secure page, and returns the page's own name. */
export async function connectSecurely(page: Page, agent: { readonly name: string; readonly newestLink: string }): Promise<string> {
  await openLink(page, secure(agent.newestLink));
  await connected(page, agent.name);
  return (await page.getByTestId("own-badge").locator("bdi").first().innerText()).trim();
}

/** After a reload the two meet again: by themselves, or by a new link. */
export async function meetAgain(page: Page, agent: { readonly name: string; readonly newestLink: string }): Promise<void> {
  await goTo(page, "Nearby");
  const connectedCard = device(page, agent.name).and(page.locator("[data-presence=connected]")).first();
  const alone = await connectedCard.waitFor({ timeout: 8_000 }).then(
    () => true,
    () => false,
  );
  console.log(alone ? "met again without a human" : "met again by a new link");
  if (alone) return;
  await openLink(page, secure(agent.newestLink));
  await expect(connectedCard).toBeVisible();
}

export function device(page: Page, name: string): Locator {
  return page.getByTestId("device").filter({ hasText: name });
}

export async function connected(page: Page, name: string): Promise<void> {
  await expect(device(page, name)).toHaveAttribute("data-presence", "connected");
}

export async function openDevice(page: Page, name: string): Promise<Locator> {
  await goTo(page, "Nearby");
  await device(page, name).click();
  const sheet = page.getByTestId("device-sheet");
  await expect(sheet).toBeVisible();
  return sheet;
}

export async function goTo(page: Page, screen: "Nearby" | "Transfers" | "Text" | "Settings"): Promise<void> {
  await page.getByRole("link", { name: screen }).or(page.getByRole("button", { name: screen, exact: false })).first().click();
}

export async function sendFiles(page: Page, name: string, paths: string | string[]): Promise<void> {
  const sheet = await openDevice(page, name);
  const [chooser] = await Promise.all([page.waitForEvent("filechooser"), sheet.getByRole("button", { name: "Send files" }).click()]);
  await chooser.setFiles(paths);
}

export async function sendFolder(page: Page, name: string, path: string): Promise<void> {
  const sheet = await openDevice(page, name);
  const [chooser] = await Promise.all([page.waitForEvent("filechooser"), sheet.getByRole("button", { name: "Send folder" }).click()]);
  await chooser.setFiles(path);
}

/** The newest transfer's row. */
export function newestTransfer(page: Page, direction: "send" | "receive"): Locator {
  return page.locator(`[data-testid=transfer][data-direction=${direction}]`).first();
}

export async function accept(page: Page): Promise<void> {
  await expect(page.getByTestId("offer")).toBeVisible();
  await page.getByTestId("accept").click();
}

/** The pictures in a text, without their names. */
export function symbols(text: string): string {
  return [...text.matchAll(/\p{Extended_Pictographic}/gu)].map(([symbol]) => symbol).join("");
}

/** Both people compare pictures: `asked` shows three rows, `shown` one; returns when both said yes. */
export async function comparePictures(asked: Page, shown: Page): Promise<void> {
  const row = shown.getByTestId("meeting").getByTestId("picture-row");
  await expect(row).toHaveCount(1);
  const symbols = [...(await row.innerText()).matchAll(/\p{Extended_Pictographic}/gu)].map(([symbol]) => symbol).join("");
  const rows = asked.getByTestId("meeting").locator("label").filter({ has: asked.getByTestId("picture-row") });
  await expect(rows).toHaveCount(3);
  const offered = await rows.evaluateAll((labels) =>
    labels.map((label) => [...(label.textContent ?? "").matchAll(/\p{Extended_Pictographic}/gu)].map(([symbol]) => symbol).join("")),
  );
  const at = offered.indexOf(symbols);
  expect(at, `${symbols} is among ${offered.join(" / ")}`).toBeGreaterThanOrEqual(0);
  await rows.nth(at).click();
  await asked.getByTestId("pick-row").click();
  await shown.getByTestId("confirm-pictures").click();
}
