import { svelte } from '@sveltejs/vite-plugin-svelte';
import { svelteTesting } from '@testing-library/svelte/vite';
import { defineConfig } from 'vitest/config';
import { compressed } from './compress.ts';
import { firstLoadGate } from './first_load.ts';
import { preloadApplication } from './preload.ts';
import { serviceWorker } from './service_worker_build.ts';

/**
 * The page is served by the relay and by every agent under `Content-Security-Policy: script-src 'self'`: nothing here
 * may end up inline, and nothing may come from another origin.
 */
export default defineConfig({
  base: '/',
  plugins: [svelte(), svelteTesting(), preloadApplication(), firstLoadGate(), serviceWorker(), compressed()],
  build: {
    target: 'es2022',
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  worker: { format: 'es' },
  server: {
    // `npm run dev` beside a running `lanyard up` or `lanyard-relay`.
    proxy: { '/v1': { target: 'http://127.0.0.1:53380', ws: true } },
  },
  test: {
    include: ['src/**/*.test.ts'],
    // Runs against the Rust side, which must be built first: `npm run test:interop` names its own files.
    exclude: process.env['LANYARD_INTEROP'] === undefined ? ['src/**/*.interop.test.ts'] : [],
    environment: 'node',
    // Whole applications meet and move files in one test, on machines that do other things too.
    testTimeout: 20_000,
    // A component's test stands beside it and starts with `// @vitest-environment jsdom`.
    restoreMocks: true,
  },
});
