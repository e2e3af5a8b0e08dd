/** The promise of a quick first screen, kept by the build: it fails when the page would fetch more than this at first. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { Plugin } from 'vite';

const LIMITS = { script: 60_000, style: 12_000 };
type Kind = keyof typeof LIMITS;

/** What `index.html` itself names is fetched before the first screen stands, unless it says that it can wait. */
const TAGS: Record<Kind, RegExp> = {
  script: /<(?:script[^>]*\ssrc|link(?![^>]*\sfetchpriority="low")[^>]*\srel="modulepreload"[^>]*\shref)="\/([^"]+)"/g,
  style: /<link[^>]*\srel="stylesheet"[^>]*\shref="\/([^"]+)"/g,
};

/** Bytes after gzip, by kind, of what the built page in `folder` fetches first. */
function firstLoad(folder: string): Record<Kind, number> {
  const page = readFileSync(join(folder, 'index.html'), 'utf8');
  const measure = (kind: Kind): number =>
    [...page.matchAll(TAGS[kind])].reduce((sum, [, path = '']) => sum + gzipSync(readFileSync(join(folder, path))).length, 0);
  return { script: measure('script'), style: measure('style') };
}

/** Measures the finished build. */
export function firstLoadGate(): Plugin {
  return {
    name: 'lanyard:first-load',
    apply: 'build',
    writeBundle({ dir }) {
      // Workers are bundled on their own and have no page.
      if (dir === undefined || this.environment.config.isWorker) return;
      const sizes = firstLoad(dir);
      for (const kind of ['script', 'style'] as const) {
        const text = `first load: ${(sizes[kind] / 1000).toFixed(1)} kB of ${kind} after gzip, at most ${String(LIMITS[kind] / 1000)} kB`;
        if (sizes[kind] === 0) this.error(`first load: found no ${kind} in index.html`);
        if (sizes[kind] > LIMITS[kind]) this.error(text);
        this.info(text);
      }
    },
  };
}
