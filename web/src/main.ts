import { mount } from 'svelte';
import { awaitedActions } from './state/awaited';
import type { RunningApp } from './state/app';
import { firstModel } from './state/initial';
import type { Model } from './state/model';
import { guessPlatform } from './state/platform';
import { reactive } from './state/reactive.svelte';
import App from './ui/App.svelte';

const RETRY_MS = 1000;
/** A first frame takes no longer. */
const PAINT_MS = 200;

/**
 * The fragment of a link is a secret: it is read once and taken out of the address bar, the history and whatever else
 * shows the address, before anything else runs. Opening a link does nothing until the person taps (SAFETY §3).
 */
function takeInvitation(): string | null {
  if (location.hash.length <= 1) return null;
  const { href } = location;
  history.replaceState(history.state, '', location.pathname + location.search);
  return href;
}

/** Shows the page at once; what makes it work is fetched while the person looks at it. */
function main(invitation: string | null): void {
  const target = document.getElementById('app');
  if (target === null) return;
  const model = reactive(
    firstModel(guessPlatform(navigator), {
      kind: globalThis.isSecureContext ? 'secure' : 'lan',
      canCopy: 'clipboard' in navigator || document.queryCommandSupported('copy'),
      canShare: 'share' in navigator,
    }),
  );
  let opened = invitation;
  let running: RunningApp | null = null;
  const showInvitation = (address: string): void => {
    opened = address;
    if (running !== null) running.handleInvitation(address);
    else model.invitation = { host: location.host, state: 'waiting_for_tap', failure: null };
  };
  if (invitation !== null) showInvitation(invitation);
  // A link pasted into the address bar of the open page changes the fragment alone.
  window.addEventListener('hashchange', () => {
    const again = takeInvitation();
    if (again !== null) showInvitation(again);
  });
  const actions = firstPaint()
    .then(() => start(model))
    .then((app) => {
      running = app;
      if (opened !== null) app.handleInvitation(opened);
      watchPage(app);
      return app.actions;
    });
  mount(App, { target, props: { app: { model, actions: awaitedActions(model, actions) } } });
}

/** Tries until the application could be fetched: the server may be out of reach just now. */
async function start(model: Model): Promise<RunningApp> {
  const sinceMs = Date.now();
  for (;;) {
    const application = await import('./application').catch(() => null);
    if (application !== null) return application.startApp(await application.browserEnvironment(), model);
    model.server = { state: 'reconnecting', sinceMs, retryAtMs: Date.now() + RETRY_MS };
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

/** After the first screen was painted; a page in the background paints nothing and does not wait for it. */
function firstPaint(): Promise<void> {
  return new Promise((resolve) => {
    if (document.visibilityState === 'hidden') resolve();
    else requestAnimationFrame(() => setTimeout(resolve));
    // The tab may be put into the background before its first frame.
    setTimeout(resolve, PAINT_MS);
  });
}

function watchPage(app: RunningApp): void {
  window.addEventListener('online', app.handleNetworkChange);
  document.addEventListener('visibilitychange', () => {
    if (document.visibilityState === 'visible') app.handleVisible();
  });
  window.addEventListener('pagehide', ({ persisted }) => {
    // A page that is kept may come back; one that is not says good-bye.
    if (!persisted) app.handleLeave();
  });
}

main(takeInvitation());
