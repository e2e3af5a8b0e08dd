/** Builds the service worker after the page: one script at a fixed address that knows every file of the page, as it is asked for. */
import { createHash } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { build, type Plugin } from 'vite';

export function serviceWorker(): Plugin {
  return {
    name: 'lanyard:service-worker',
    apply: 'build',
    async closeBundle() {
      if (this.environment.config.isWorker) return;
      const dir = this.environment.config.build.outDir;
      const files = readdirSync(dir, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile() && !/(?:^sw\.js|\.br|\.gz)$/.test(entry.name))
        .map((entry) => relative(dir, join(entry.parentPath, entry.name)).split(sep).join('/'))
        .sort();
      const hash = createHash('sha256');
      for (const file of files) hash.update(file).update(readFileSync(join(dir, file)));
      await build({
        configFile: false,
        logLevel: 'warn',
        publicDir: false,
        define: {
          LANYARD_VERSION: JSON.stringify(hash.digest('hex').slice(0, 16)),
          LANYARD_FILES: JSON.stringify(files.map((file) => (file === 'index.html' ? '/' : `/${file}`))),
        },
        build: {
          outDir: dir,
          emptyOutDir: false,
          target: 'es2022',
          rollupOptions: { input: 'src/sw/service_worker.ts', output: { format: 'iife', entryFileNames: 'sw.js' } },
        },
      });
    },
  };
}
