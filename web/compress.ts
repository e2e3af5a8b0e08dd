/** Compressed copies beside the files of the page: programs serve these as they are, and compress nothing themselves. */
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import type { Plugin } from 'vite';

const COMPRESSIBLE = /\.(?:css|html|js|json|svg|webmanifest)$/;
/** Smaller files fit into one packet anyway. */
const LEAST_BYTES = 1_000;

/** Writes `name.br` and `name.gz` for each file in `folder` that they make smaller. */
function compress(folder: string): number {
  let count = 0;
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (!entry.isFile() || !COMPRESSIBLE.test(entry.name)) continue;
    const bytes = readFileSync(path);
    if (bytes.length < LEAST_BYTES) continue;
    const params = { [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY };
    const copies = { br: brotliCompressSync(bytes, { params }), gz: gzipSync(bytes, { level: 9 }) };
    for (const [ending, copy] of Object.entries(copies)) {
      if (copy.length < bytes.length) writeFileSync(`${path}.${ending}`, copy);
    }
    count += 1;
  }
  return count;
}

/** Comes after everything else that writes into the built page. */
export function compressed(): Plugin {
  let folder: string | undefined;
  return {
    name: 'lanyard:compressed',
    apply: 'build',
    enforce: 'post',
    writeBundle({ dir }) {
      if (!this.environment.config.isWorker) folder = dir;
    },
    closeBundle: {
      order: 'post',
      sequential: true,
      handler() {
        if (folder === undefined) return;
        this.info(`compressed ${String(compress(folder))} files with brotli and gzip`);
      },
    },
  };
}
