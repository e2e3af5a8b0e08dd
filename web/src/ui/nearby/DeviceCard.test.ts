// @vitest-environment jsdom
import { render, screen } from '@testing-library/svelte';
import { describe, expect, it, vi } from 'vitest';
import { demoDevice, demoTransfer } from '../../state/demo';
import type { DeviceView, TransferView } from '../../state/model';
import DeviceCard from './DeviceCard.svelte';

function card(device: Partial<DeviceView>, transfer: TransferView | null = null) {
  const onopen = vi.fn();
  render(DeviceCard, { device: demoDevice(device), transfer, onopen, ondropitems: vi.fn() });
  return { button: screen.getByTestId('device'), onopen };
}

describe('DeviceCard', () => {
  it('is a button that names the device, its route and its proof', () => {
    const { button, onopen } = card({ name: 'Studio PC', route: { kind: 'relayed', rttMs: 60 }, trust: 'code' });
    expect(button.tagName).toBe('BUTTON');
    expect(button.textContent).toMatch(/Studio PC.*Relayed.*By code/s);
    button.click();
    expect(onopen).toHaveBeenCalledOnce();
  });

  it('draws a hostile name as text', () => {
    const { button } = card({ name: '<img src=x onerror=alert(1)>\u202egpj.exe' });
    expect(button.querySelector('img')).toBeNull();
    expect(button.textContent).toContain('<img src=x onerror=alert(1)>\\u{202e}gpj.exe');
  });

  it('counts the wait for a lost device, then says that it goes on by itself', () => {
    vi.useFakeTimers({ now: 1_000_000 });
    card({ presence: 'away', awaySinceMs: 1_000_000 - 8_000 });
    expect(screen.getByText('Reconnecting 0:20')).toBeTruthy();
    vi.useRealTimers();
  });

  it('says why a meeting ended and what to do', () => {
    const { button } = card({ presence: 'listed', meeting: { step: 'failed', failure: 'no_answer' }, route: null });
    expect(button.textContent).toContain('Nobody answered there. Try again when somebody is at the device.');
  });

  it('shows how far its transfer is', () => {
    card({}, demoTransfer({ doneBytes: 640, totalBytes: 1000 }));
    expect(screen.getByRole('progressbar').getAttribute('aria-valuenow')).toBe('64');
  });
});
