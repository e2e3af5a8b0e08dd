/** Which tab a transfer belongs to: two tabs must not write the same file (FACTS §2 rule 2). */

export interface TabLocks {
  /** Takes the transfer for this tab, waiting up to `waitMs` for one that is being closed. Held until `release`. */
  claim(transfer: string, waitMs: number): Promise<boolean>;
  release(transfer: string): void;
  /** Whether any tab holds it. */
  held(): Promise<ReadonlySet<string>>;
}

const PREFIX = 'xfer:';

/** Web Locks; secure pages only. They go with the tab, however it ends. */
export class WebLocks implements TabLocks {
  readonly #ours = new Map<string, () => void>();

  async claim(transfer: string, waitMs: number): Promise<boolean> {
    if (this.#ours.has(transfer)) return true;
    return new Promise((resolve) => {
      navigator.locks
        .request(PREFIX + transfer, { signal: AbortSignal.timeout(waitMs) }, () => {
          resolve(true);
          return new Promise<void>((release) => {
            this.#ours.set(transfer, release);
          });
        })
        .catch(() => {
          resolve(false);
        });
    });
  }

  release(transfer: string): void {
    this.#ours.get(transfer)?.();
    this.#ours.delete(transfer);
  }

  async held(): Promise<ReadonlySet<string>> {
    const { held = [] } = await navigator.locks.query();
    const names = held.map(({ name = '' }) => name).filter((name) => name.startsWith(PREFIX));
    return new Set(names.map((name) => name.slice(PREFIX.length)));
  }
}
