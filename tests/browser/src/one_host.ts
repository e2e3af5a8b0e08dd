// An agent and a browser on one host, so that the browser holds the agent's page to be secure.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { Agent } from "./agent.ts";
import { Lab } from "./lab.ts";
import { DESKTOP, Phone, type Options } from "./phone.ts";

export class OneHost {
  readonly #lab: Lab;

  private constructor(
    lab: Lab,
    /** For files to send. */
    readonly dir: string,
    readonly agent: Agent,
    readonly phone: Phone,
  ) {
    this.#lab = lab;
  }

  static async up(options: Options = {}): Promise<OneHost> {
    const dir = mkdtempSync(join(tmpdir(), "lanyard-files-"));
    const lab = await Lab.lan("pc");
    const agent = await Agent.up(lab.host("pc"));
    const phone = await Phone.on(lab.host("pc"), { viewport: DESKTOP, ...options });
    return new OneHost(lab, dir, agent, phone);
  }

  async down(): Promise<void> {
    await this.phone.close();
    await this.agent.stop();
    await this.#lab.stop();
    rmSync(this.dir, { recursive: true, force: true });
  }
}
