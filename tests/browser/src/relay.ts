// `lanyard-relay` on one of the lab's hosts, with a page on http and one on https.

import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { Host } from "./lab.ts";
import { Program, built } from "./program.ts";

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
    const [key, certificate] = [join(dir, "key.pem"), join(dir, "certificate.pem")];
    const subject = ["-subj", "/CN=lab", "-addext", `subjectAltName=IP:${host.ipv4}`];
    const ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
    execFileSync("openssl", ["req", "-x509", ...ec, ...subject, "-keyout", key, "-out", certificate], { stdio: "pipe" });
    const tls = ["--tls-listen", `0.0.0.0:${httpsPort}`, "--tls-certificate", certificate, "--tls-key", key];
    const command = ["netns", "exec", host.namespace, built("lanyard-relay"), "--listen", "0.0.0.0:8080", ...tls, "--host", host.ipv4, ...args];
    const program = new Program("lanyard-relay", "ip", command);
    await program.waitFor(/https:\/\//);
    return new Relay(host, httpsPort, program, dir);
  }

  /** Its certificate (PEM). */
  get certificate(): string {
    return join(this.#dir, "certificate.pem");
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
