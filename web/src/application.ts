/** What makes the page work: one chunk, fetched once the first screen stands. */
export { browserEnvironment } from './browser';
export { startApp } from './state/app';
