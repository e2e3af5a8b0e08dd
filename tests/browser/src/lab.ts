// A local network made of namespaces, for the time of one test.

import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

import { built } from "./program.ts";

export interface Host {
  readonly namespace: string;
  readonly ipv4: string;
  readonly ipv6: string;
  /** The router's namespace, and in it the other end of this host's cable. */
  readonly router: string;
  readonly port: string;
}

export class Lab {
  readonly #child: ChildProcess;
  readonly #hosts: ReadonlyMap<string, Host>;

  private constructor(child: ChildProcess, hosts: ReadonlyMap<string, Host>) {
    this.#child = child;
    this.#hosts = hosts;
  }

  /** Makes a network with a host for each name. It vanishes with this process at the latest. */
  static async lan(...names: string[]): Promise<Lab> {
    const child = spawn(built("netlab"), ["lan", ...names], { stdio: ["pipe", "pipe", "inherit"] });
    if (child.stdout === null) throw new Error("netlab has no output");
    for await (const line of createInterface({ input: child.stdout })) {
      const described = JSON.parse(line) as { hosts: Record<string, Host> };
      return new Lab(child, new Map(Object.entries(described.hosts)));
    }
    throw new Error("netlab ended without a network; it needs root");
  }

  host(name: string): Host {
    const host = this.#hosts.get(name);
    if (host === undefined) throw new Error(`no host ${name} on this network`);
    return host;
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const ended = once(this.#child, "exit");
    this.#child.stdin?.end();
    await ended;
  }
}

/** Pulls a host's cable, or puts it back. Its addresses stay. */
export function setCable(host: Host, state: "down" | "up"): void {
  execFileSync("ip", ["-n", host.router, "link", "set", host.port, state]);
}

/** Lets no more than so much pass towards a host, with room for 4 MiB that wait. */
export function slowDown(host: Host, mbitPerSecond: number): void {
  const shape = ["root", "tbf", "rate", `${mbitPerSecond}mbit`, "burst", "32kb", "limit", "4mb"];
  execFileSync("ip", ["netns", "exec", host.router, "tc", "qdisc", "replace", "dev", host.port, ...shape]);
}

/** A firewall on a host: only what `allowed` matches (nftables expressions) may be begun, out or in; answers pass. */
export function allowOnly(host: Host, allowed: readonly string[]): void {
  const rules = [
    "table inet firewall {",
    'chain out { type filter hook output priority 0; oifname "eth0" jump limits; }',
    'chain in { type filter hook input priority 0; iifname "eth0" jump limits; }',
    "chain limits { ct state established,related accept; meta l4proto { icmp, ipv6-icmp } accept;",
    `${allowed.map((matches) => `${matches} accept;`).join(" ")} drop; }`,
    "}",
  ];
  execFileSync("ip", ["netns", "exec", host.namespace, "nft", "-f", "-"], { input: rules.join("\n") });
}
