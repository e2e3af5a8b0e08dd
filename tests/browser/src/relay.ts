// `lanyard-relay` on one of the lab's hosts, with a page on http and one on https.

import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { Host } from "./lab.ts";
import { Program, built } from "./program.ts";

export class Relay {
  readonly http: string;
  readonly https: string;
  readonly program: Program;
  readonly #dir: string;

  private constructor(host: Host, program: Program, dir: string) {
    this.http = `http://${host.ipv4}:8080/`;
    this.https = `https://${host.ipv4}:8443/`;
    this.program = program;
    this.#dir = dir;
  }

  static async up(host: Host, args: readonly string[] = []): Promise<Relay> {
    const dir = mkdtempSync(join(tmpdir(), "lanyard-relay-"));
    const [key, certificate] = [join(dir, "key.pem"), join(dir, "certificate.pem")];
    const subject = ["-subj", "/CN=lab", "-addext", `subjectAltName=IP:${host.ipv4}`];
    const ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
    execFileSync("openssl", ["req", "-x509", ...ec, ...subject, "-keyout", key, "-out", certificate], { stdio: "pipe" });
    const tls = ["--tls-listen", "0.0.0.0:8443", "--tls-certificate", certificate, "--tls-key", key];
    const command = ["netns", "exec", host.namespace, built("lanyard-relay"), "--listen", "0.0.0.0:8080", ...tls, "--host", host.ipv4, ...args];
    const program = new Program("lanyard-relay", "ip", command);
    await program.waitFor(/8443/);
    return new Relay(host, program, dir);
  }

  async stop(): Promise<void> {
    await this.program.stop();
    rmSync(this.#dir, { recursive: true, force: true });
  }
}
