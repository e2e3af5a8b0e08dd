// `lanyard up` on one of the lab's hosts.

import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { Host } from "./lab.ts";
import { Program, built } from "./program.ts";
import type { Relay } from "./relay.ts";

export interface Options {
  readonly name?: string;
  readonly accept?: "ask" | "accept";
  /** More arguments of `lanyard up`. */
  readonly args?: readonly string[];
  /** A relay whose certificate it trusts, and where it shows a link as well. */
  readonly relay?: Relay;
}

export class Agent {
  readonly name: string;
  readonly inbox: string;
  readonly program: Program;
  /** What the QR code says. It changes when it was used. */
  readonly link: string;
  readonly #host: Host;
  readonly #home: string;
  /** What its programs run with. */
  readonly #env: Readonly<Record<string, string>>;

  private constructor(name: string, inbox: string, program: Program, link: string, host: Host, home: string, env: Readonly<Record<string, string>>) {
    this.name = name;
    this.inbox = inbox;
    this.program = program;
    this.link = link;
    this.#host = host;
    this.#home = home;
    this.#env = env;
  }

  static async up(host: Host, { name = "Studio PC", accept = "accept", args = [], relay }: Options = {}): Promise<Agent> {
    const home = mkdtempSync(join(tmpdir(), "lanyard-home-"));
    const inbox = join(home, "inbox");
    mkdirSync(inbox);
    const command = ["netns", "exec", host.namespace, built("lanyard"), "up", inbox, "--name", name, "--accept", accept, "--no-color", ...args];
    if (relay !== undefined) command.push("--relay", relay.https);
    const trust: Record<string, string> = relay === undefined ? {} : { SSL_CERT_FILE: relay.authority };
    const env = { ...environment(home), ...trust };
    const program = new Program(name, "ip", command, env);
    const [link] = await program.waitFor(/http:\/\/\S+\/#1\.[\w-]+\.[\w-]+/);
    return new Agent(name, inbox, program, link, host, home, env);
  }

  /** Its link at the relay. */
  async relayLink(): Promise<string> {
    const [link] = await this.program.waitFor(/https:\/\/\S+\/#1\.[\w-]+\.[\w-]+/);
    return link;
  }

  /** The newest link that it printed. */
  get newestLink(): string {
    const links = [...this.program.printed.matchAll(/http:\/\/\S+\/#1\.[\w-]+\.[\w-]+/g)];
    return links.at(-1)?.[0] ?? this.link;
  }

  /** Another `lanyard` command of the same person on the same machine. */
  command(...args: readonly string[]): Program {
    const name = `lanyard ${args[0] ?? ""}`;
    return new Program(name, "ip", ["netns", "exec", this.#host.namespace, built("lanyard"), ...args], this.#env);
  }

  async stop(): Promise<void> {
    await this.program.stop("SIGTERM");
    // Shown by the reporter only in a run that somebody looks into.
    if (process.env["LANYARD_TEST_LOG"] !== undefined) console.log(this.program.printed);
    rmSync(this.#home, { recursive: true, force: true });
  }
}

function environment(home: string): Record<string, string> {
  const runtime = join(home, "run");
  mkdirSync(runtime, { recursive: true, mode: 0o700 });
  return {
    HOME: home,
    XDG_RUNTIME_DIR: runtime,
    XDG_CONFIG_HOME: join(home, "config"),
    XDG_DATA_HOME: join(home, "data"),
    XDG_STATE_HOME: join(home, "state"),
    COLUMNS: "80",
  };
}
