// A program under test: its output is read as it comes, and it ends with the test.

import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** Where cargo put a program of this workspace. */
export function built(name: string): string {
  const dir = process.env["LANYARD_BIN_DIR"] ?? join(import.meta.dirname, "../../../target/debug");
  const path = join(dir, name);
  if (!existsSync(path)) throw new Error(`${path} is not built: run \`cargo xtask browser\``);
  return path;
}

export class Program {
  /** In milliseconds since 1970. */
  readonly startedAtMs = Date.now();
  readonly #child: ChildProcess;
  readonly #name: string;
  #printed = "";
  #listeners = new Set<() => void>();

  constructor(name: string, command: string, args: readonly string[], env: Readonly<Record<string, string>> = {}) {
    this.#name = name;
    this.#child = spawn(command, args, { stdio: ["pipe", "pipe", "pipe"], env: { ...process.env, ...env } });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.setEncoding("utf8").on("data", (text: string) => {
        this.#printed += text;
        for (const listener of this.#listeners) listener();
      });
    }
    this.#child.on("exit", () => {
      for (const listener of this.#listeners) listener();
    });
  }

  /** Waits until its output matches, and returns the match. */
  async waitFor(pattern: RegExp, within_ms = 20_000): Promise<RegExpMatchArray> {
    const deadline = Date.now() + within_ms;
    for (;;) {
      const match = this.#printed.match(pattern);
      if (match !== null) return match;
      const left = deadline - Date.now();
      if (left <= 0 || this.#child.exitCode !== null) {
        throw new Error(`${this.#name} did not print ${pattern} within ${within_ms} ms. It printed:\n${this.#printed}`);
      }
      await new Promise<void>((resolve) => {
        const done = (): void => {
          this.#listeners.delete(done);
          clearTimeout(timer);
          resolve();
        };
        const timer = setTimeout(done, left);
        this.#listeners.add(done);
      });
    }
  }

  get printed(): string {
    return this.#printed;
  }

  get pid(): number {
    const pid = this.#child.pid;
    if (pid === undefined) throw new Error(`${this.#name} did not start`);
    return pid;
  }

  type(line: string): void {
    this.#child.stdin?.write(`${line}\n`);
  }

  /** Types a line, and that nothing comes after it. */
  typeLast(line: string): void {
    this.#child.stdin?.end(`${line}\n`);
  }

  /** Waits for its end and returns its exit code. */
  async ended(): Promise<number | null> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) await once(this.#child, "exit");
    return this.#child.exitCode;
  }

  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<number | null> {
    this.#child.kill(signal);
    return await this.ended();
  }

  /** Resident memory in bytes, now. */
  residentBytes(): number {
    const status = readFileSync(`/proc/${this.pid}/status`, "utf8");
    const kib = status.match(/^VmRSS:\s+(\d+) kB$/m)?.[1];
    if (kib === undefined) throw new Error("no VmRSS");
    return Number(kib) * 1024;
  }

  /** Highest resident memory in bytes, so far. */
  peakResidentBytes(): number {
    const status = readFileSync(`/proc/${this.pid}/status`, "utf8");
    const kib = status.match(/^VmHWM:\s+(\d+) kB$/m)?.[1];
    if (kib === undefined) throw new Error("no VmHWM");
    return Number(kib) * 1024;
  }
}
