// `lanyard-relay` on one of the lab's hosts, with a page on http and one on https.

import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { Host } from "./lab.ts";
import { Program, built } from "./program.ts";

/** What browsers that look up no names but this may call it. */
export const NAME = "relay.lab";

export interface Options {
  readonly httpsPort?: number;
  /** More arguments of `lanyard-relay`. */
  readonly args?: readonly string[];
}

export class Relay {
  readonly http: string;
  readonly https: string;
  readonly program: Program;
  readonly #host: Host;
  readonly #dir: string;

  private constructor(host: Host, httpsPort: number, program: Program, dir: string) {
    this.http = `http://${host.ipv4}:8080/`;
    this.https = httpsPort === 443 ? `https://${host.ipv4}/` : `https://${host.ipv4}:${httpsPort}/`;
    this.program = program;
    this.#host = host;
    this.#dir = dir;
  }

  static async up(host: Host, { httpsPort = 8443, args = [] }: Options = {}): Promise<Relay> {
    const dir = mkdtempSync(join(tmpdir(), "lanyard-relay-"));
    // An authority of the lab's own and a certificate of it: browsers trust no end entity by itself.
    const path = (name: string): string => join(dir, name);
    const [key, certificate] = [path("key.pem"), path("certificate.pem")];
    const ec = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
    const authority = ["-subj", "/CN=Lab authority", "-addext", "keyUsage=critical,keyCertSign", "-keyout", path("authority.key")];
    execFileSync("openssl", [...ec, ...authority, "-out", path("authority.pem")], { stdio: "pipe" });
    const names = ["-addext", `subjectAltName=IP:${host.ipv4},DNS:${NAME}`, "-addext", "basicConstraints=critical,CA:FALSE"];
    const signed = ["-subj", "/CN=lab", ...names, "-CA", path("authority.pem"), "-CAkey", path("authority.key"), "-keyout", key];
    execFileSync("openssl", [...ec, ...signed, "-out", certificate], { stdio: "pipe" });
    const tls = ["--tls-listen", `0.0.0.0:${httpsPort}`, "--tls-certificate", certificate, "--tls-key", key];
    const command = ["netns", "exec", host.namespace, built("lanyard-relay"), "--listen", "0.0.0.0:8080", ...tls, "--host", `${host.ipv4},${NAME}`, ...args];
    const program = new Program("lanyard-relay", "ip", command);
    await program.waitFor(/https:\/\//);
    return new Relay(host, httpsPort, program, dir);
  }

  /** The authority that vouches for its certificate (PEM). */
  get authority(): string {
    return join(this.#dir, "authority.pem");
  }

  /** The sum of a counter's series in `/metrics`. */
  metric(name: string): number {
    const command = ["netns", "exec", this.#host.namespace, "curl", "-fsS", "http://127.0.0.1:8080/metrics"];
    const lines = execFileSync("ip", command, { encoding: "utf8" }).split("\n");
    const values = lines.filter((line) => /^\w+/.exec(line)?.[0] === name).map((line) => Number(line.split(" ").at(-1)));
    return values.reduce((sum, value) => sum + value, 0);
  }

  async stop(): Promise<void> {
    await this.program.stop();
    rmSync(this.#dir, { recursive: true, force: true });
  }
}
