// @vitest-environment jsdom
import { fireEvent, render, screen, waitFor } from '@testing-library/svelte';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { demoApp, demoDevice, demoOffer, demoTransfer } from '../state/demo';
import App from './App.svelte';
import { fillInJsdom } from './jsdom';
// Fetched by the page after its first screen; here it is ready at once.
import './later';
import { go } from './route.svelte';

function page(change?: Parameters<typeof demoApp>[0]) {
  const app = demoApp(change);
  render(App, { app });
  return app;
}

describe('the page', () => {
  beforeEach(() => {
    fillInJsdom();
    go('nearby');
  });

  it('sends the chosen files to the tapped device: two actions', async () => {
    const app = page();
    await fireEvent.click(await screen.findByRole('button', { name: /^Studio Desktop/ }));
    const field = await screen.findByTestId<HTMLInputElement>('pick-files');
    const file = new File(['x'], 'letter.txt');
    Object.defineProperty(field, 'files', { value: [file], configurable: true });
    await fireEvent.change(field);
    expect(app.calls).toContainEqual(['sendFiles', 'studio', [{ kind: 'file', path: 'letter.txt', file }]]);
    expect(screen.queryByTestId('device-sheet')).toBeNull();
  });

  it('does nothing with the link it was opened by until the tap', async () => {
    const app = page((model) => {
      model.devices = [];
      model.invitation = { host: '192.168.1.20:53380', state: 'waiting_for_tap', failure: null };
    });
    expect(app.calls).toEqual([]);
    await fireEvent.click(screen.getByRole('button', { name: 'Connect' }));
    expect(app.calls).toEqual([['openInvitation']]);
  });

  it('keeps a renamed device, and drops the draft on Esc', async () => {
    const app = page();
    await fireEvent.click(screen.getByRole('button', { name: 'Change the name' }));
    const field = await screen.findByRole('textbox', { name: 'Name of this device' });
    await fireEvent.input(field, { target: { value: 'Blue Kite' } });
    await fireEvent.keyDown(field, { key: 'Escape' });
    expect(app.model.self.name).toBe('Amber Heron');
    await fireEvent.click(screen.getByRole('button', { name: 'Change the name' }));
    const again = await screen.findByRole('textbox', { name: 'Name of this device' });
    await fireEvent.input(again, { target: { value: 'Blue Kite' } });
    await fireEvent.click(screen.getByRole('button', { name: 'Rename' }));
    expect(app.model.self.name).toBe('Blue Kite');
  });

  it('asks before a moving transfer is thrown away', async () => {
    const app = page((model) => {
      model.transfers = [demoTransfer()];
    });
    await fireEvent.click(screen.getByRole('link', { name: /^Transfers/ }));
    await fireEvent.click(await screen.findByRole('button', { name: 'Cancel holiday.zip' }));
    expect(app.calls.some(([action]) => action === 'cancel')).toBe(false);
    await fireEvent.click(await screen.findByTestId('confirm-cancel'));
    expect(app.calls).toContainEqual(['cancel', 'transfer-1']);
  });

  it('sends text with Ctrl and Enter to the chosen device', async () => {
    const app = page();
    await fireEvent.click(screen.getByRole('link', { name: /^Text/ }));
    await fireEvent.click(await screen.findByRole('radio', { name: 'Violet Otter' }));
    const box = screen.getByTestId('text-box');
    await fireEvent.input(box, { target: { value: 'hello' } });
    await fireEvent.keyDown(box, { key: 'Enter', ctrlKey: true });
    expect(app.calls).toContainEqual(['sendText', 'violet', 'hello']);
  });

  it('opens a link in a text only after the second tap', async () => {
    page((model) => {
      model.texts = [
        { id: 'x', deviceId: 'studio', deviceName: 'Studio', direction: 'receive', text: 'https://example.org/a', atMs: 0, state: 'delivered' },
      ];
    });
    await fireEvent.click(screen.getByRole('link', { name: /^Text/ }));
    expect(screen.queryByRole('link', { name: /example/ })).toBeNull();
    await fireEvent.click(await screen.findByRole('button', { name: 'https://example.org/a' }));
    expect(screen.getByRole('link', { name: 'Open example.org?' }).getAttribute('rel')).toBe('noopener noreferrer');
  });

  it('names the progress in its title', async () => {
    page((model) => {
      model.transfers = [demoTransfer({ doneBytes: 64, totalBytes: 100 })];
    });
    await waitFor(() => {
      expect(document.title).toBe('(64 %) Lanyard');
    });
  });

  it('shows the request of the oldest offer and passes the answer on', async () => {
    const app = page((model) => {
      model.offers = [demoOffer(), demoOffer({ id: 'offer-2', deviceName: 'Grey Heron' })];
    });
    await screen.findByRole('heading', { name: 'Violet Otter' });
    await fireEvent.click(screen.getByTestId('decline'));
    expect(app.calls).toContainEqual(['declineOffer', 'offer-1']);
    await screen.findByRole('heading', { name: 'Grey Heron' });
  });

  it('stops at pictures that differ before it shows anything else', async () => {
    page((model) => {
      model.devices = [demoDevice({ meeting: { step: 'failed', failure: 'pictures_differ' } })];
      model.offers = [demoOffer()];
    });
    await screen.findByRole('heading', { name: 'The pictures differ' });
    expect(screen.queryByTestId('offer')).toBeNull();
    await fireEvent.click(screen.getByRole('button', { name: 'Understood' }));
    await screen.findByTestId('offer');
  });

  it('says why nobody is nearby after four seconds', async () => {
    vi.useFakeTimers();
    page((model) => {
      model.devices = [];
    });
    expect(screen.queryByTestId('nobody-nearby')).toBeNull();
    await vi.advanceTimersByTimeAsync(5000);
    expect(screen.getByTestId('nobody-nearby').textContent).toContain('same network');
    vi.useRealTimers();
  });
});
