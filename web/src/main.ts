import { mount } from 'svelte';
import { browserEnvironment } from './browser';
import { startApp } from './state/app';
import App from './ui/App.svelte';

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

async function main(invitation: string | null): Promise<void> {
  const target = document.getElementById('app');
  if (target === null) return;
  const app = startApp(await browserEnvironment(invitation));
  window.addEventListener('online', app.handleNetworkChange);
  document.addEventListener('visibilitychange', () => {
    if (document.visibilityState === 'visible') app.handleVisible();
  });
  window.addEventListener('pagehide', ({ persisted }) => {
    // A page that is kept may come back; one that is not says good-bye.
    if (!persisted) app.handleLeave();
  });
  // A link pasted into the address bar of the open page changes the fragment alone.
  window.addEventListener('hashchange', () => {
    const again = takeInvitation();
    if (again !== null) app.handleInvitation(again);
  });
  mount(App, { target, props: { app } });
}

void main(takeInvitation());
