/** Lets the browser fetch what makes the page work while the first screen is drawn: it is run only afterwards. */
import type { Plugin } from 'vite';

/** Name of the chunk that `main.ts` asks for. */
const CHUNK = 'application';

export function preloadApplication(): Plugin {
  return {
    name: 'lanyard:preload',
    apply: 'build',
    transformIndexHtml: {
      order: 'post',
      handler(_, { bundle = {} }) {
        const chunk = Object.values(bundle).find((output) => output.name === CHUNK);
        if (chunk === undefined) throw new Error(`there is no chunk called ${CHUNK}`);
        // Behind all that the first screen needs.
        const attrs = { rel: 'modulepreload', fetchpriority: 'low', crossorigin: true, href: `/${chunk.fileName}` };
        return [{ tag: 'link', attrs, injectTo: 'head' }];
      },
    },
  };
}
