// A real Chromium on one of the lab's hosts.

import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { chromium, type BrowserContext, type Page } from "@playwright/test";

import type { Host } from "./lab.ts";

export const PHONE = { width: 390, height: 844 };
export const DESKTOP = { width: 1280, height: 800 };

export interface Options {
  readonly viewport?: { width: number; height: number };
  readonly colorScheme?: "light" | "dark";
  /** What the browser calls itself, when pages are to take it for another device. */
  readonly userAgent?: string;
  /** An origin on plain http that the browser holds to be secure, as one with a certificate would be. */
  readonly secureOrigin?: string;
  /** Scripts may collect garbage when they like: `gc()`. */
  readonly exposeGc?: boolean;
}

/** A page that reads this takes what fits into a phone's memory. */
export const ANDROID = "Mozilla/5.0 (Linux; Android 16; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Mobile Safari/537.36";

export class Phone {
  readonly context: BrowserContext;
  readonly page: Page;
  readonly downloads: string;
  readonly #dir: string;

  private constructor(context: BrowserContext, page: Page, dir: string) {
    this.context = context;
    this.page = page;
    this.#dir = dir;
    this.downloads = join(dir, "downloads");
  }

  static async on(host: Host, { viewport = PHONE, colorScheme = "light", userAgent, secureOrigin, exposeGc = false }: Options = {}): Promise<Phone> {
    const dir = mkdtempSync(join(tmpdir(), "lanyard-phone-"));
    // Playwright talks to the browser over inherited pipes, which cross namespaces.
    const start = join(dir, "chromium");
    writeFileSync(start, `#!/bin/sh\nexec ip netns exec ${host.namespace} chromium "$@"\n`);
    chmodSync(start, 0o755);
    const context = await chromium.launchPersistentContext(join(dir, "profile"), {
      executablePath: start,
      headless: true,
      viewport,
      colorScheme,
      ...(userAgent === undefined ? {} : { userAgent }),
      hasTouch: viewport.width < 860,
      // The lab's relay has a certificate of its own making.
      ignoreHTTPSErrors: true,
      acceptDownloads: true,
      downloadsPath: join(dir, "downloads"),
      args: [
        "--no-sandbox",
        // For TURN over TLS, which does not ask the page's settings.
        "--ignore-certificate-errors",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--enable-precise-memory-info",
        ...(exposeGc ? ["--js-flags=--expose-gc"] : []),
        ...(secureOrigin === undefined ? [] : [`--unsafely-treat-insecure-origin-as-secure=${secureOrigin}`]),
      ],
    });
    const page = context.pages()[0] ?? (await context.newPage());
    page.on("pageerror", (error) => console.error(`page: ${error.stack ?? error.message}`));
    page.on("console", (message) => {
      if (message.type() === "error") console.error(`page console: ${message.text()}`);
    });
    return new Phone(context, page, dir);
  }

  /** JavaScript heap in bytes after a collection. */
  async heapBytes(): Promise<number> {
    const session = await this.context.newCDPSession(this.page);
    await session.send("HeapProfiler.collectGarbage");
    const { usedSize } = await session.send("Runtime.getHeapUsage");
    await session.detach();
    return usedSize;
  }

  /** JavaScript heap in bytes as it is, with what is not collected yet. */
  async usedHeapBytes(): Promise<number> {
    const session = await this.context.newCDPSession(this.page);
    const { usedSize } = await session.send("Runtime.getHeapUsage");
    await session.detach();
    return usedSize;
  }

  async close(): Promise<void> {
    await this.context.close();
    rmSync(this.#dir, { recursive: true, force: true });
  }
}
