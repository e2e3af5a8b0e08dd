/** The tabs of one browser are one device with one key: they share what is remembered, and must not meet each other. */

export type TabNote =
  /** The id of a tab at the server; it is this very device. */
  | { type: 'here'; device: string }
  /** A new tab asks who is there. */
  | { type: 'who' }
  /** What is remembered was changed. */
  | { type: 'known_changed' };

export interface Tabs {
  /**
   * Calls `onHeld` once no other tab holds `name`, which may be at once or never. The returned function gives it back;
   * the end of the page does, too.
   */
  hold(name: string, onHeld: () => void): () => void;
  /** To all other tabs. */
  tell(note: TabNote): void;
  /** From other tabs; called once. */
  listen(onNote: (note: TabNote) => void): void;
}

const CHANNEL = 'lanyard';

/** By Web Locks and a BroadcastChannel. Without locks, as on plain http, nothing is shared that had to be held. */
export function browserTabs(): Tabs {
  const channel = 'BroadcastChannel' in globalThis ? new BroadcastChannel(CHANNEL) : null;
  return {
    hold: (name, onHeld) => {
      if (!('locks' in navigator)) {
        onHeld();
        return () => undefined;
      }
      const giveUp = new AbortController();
      const held = new Promise<void>((resolve) => {
        giveUp.signal.addEventListener('abort', () => {
          resolve();
        });
      });
      navigator.locks
        .request(`lanyard/${name}`, { signal: giveUp.signal }, () => {
          onHeld();
          return held;
        })
        .catch(() => undefined); // Given up before it was held.
      return () => {
        giveUp.abort();
      };
    },
    tell: (note) => channel?.postMessage(note),
    listen: (onNote) => {
      channel?.addEventListener('message', ({ data }: MessageEvent<unknown>) => {
        const note = readNote(data);
        if (note !== null) onNote(note);
      });
    },
  };
}

/** Another tab may run an older or newer page. */
function readNote(data: unknown): TabNote | null {
  if (typeof data !== 'object' || data === null || !('type' in data)) return null;
  if (data.type === 'who' || data.type === 'known_changed') return { type: data.type };
  if (data.type === 'here' && 'device' in data && typeof data.device === 'string') return { type: 'here', device: data.device };
  return null;
}

/** The tabs of one make-believe browser, for tests. */
export class MemoryBrowser {
  readonly #tabs: { listeners: ((note: TabNote) => void)[] }[] = [];
  readonly #queues = new Map<string, (() => void)[]>();

  /** A new tab, and what closes it. */
  open(): { tabs: Tabs; close: () => void } {
    const tab: { listeners: ((note: TabNote) => void)[] } = { listeners: [] };
    const releases = new Set<() => void>();
    this.#tabs.push(tab);
    const tabs: Tabs = {
      hold: (name, onHeld) => {
        const release = this.#hold(name, onHeld);
        releases.add(release);
        return release;
      },
      tell: (note) => {
        for (const other of this.#tabs) {
          if (other !== tab) for (const listener of other.listeners) listener(note);
        }
      },
      listen: (onNote) => {
        tab.listeners.push(onNote);
      },
    };
    const close = (): void => {
      this.#tabs.splice(this.#tabs.indexOf(tab), 1);
      for (const release of releases) release();
    };
    return { tabs, close };
  }

  #hold(name: string, onHeld: () => void): () => void {
    const queue = this.#queues.get(name) ?? [];
    this.#queues.set(name, queue);
    queue.push(onHeld);
    if (queue.length === 1) onHeld();
    return () => {
      const at = queue.indexOf(onHeld);
      if (at < 0) return;
      queue.splice(at, 1);
      if (at === 0) queue[0]?.();
    };
  }
}
