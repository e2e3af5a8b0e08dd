// @vitest-environment jsdom
import { fireEvent, render, screen } from '@testing-library/svelte';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { demoDevice, demoOffer } from '../../state/demo';
import type { Policy, RememberView } from '../../state/model';
import OfferSheet from '../incoming/OfferSheet.svelte';
import { fillInJsdom } from '../jsdom';
import AlarmSheet from '../meeting/AlarmSheet.svelte';
import DevicesCard from '../settings/DevicesCard.svelte';
import PolicyField from './PolicyField.svelte';

beforeEach(() => {
  fillInJsdom();
});

describe('the tick in the sheet of an offer', () => {
  function sheet(remember: RememberView, lanPage = false) {
    const onaccept = vi.fn();
    const calls = { onaccept, ondecline: vi.fn(), ondownload: vi.fn(), onextend: vi.fn() };
    render(OfferSheet, { offer: demoOffer(), waiting: 0, storage: 'disk', remember, lanPage, servesPage: false, securePage: null, ...calls });
    return onaccept;
  }

  it('is not ticked, and accepting alone remembers nobody', async () => {
    const onaccept = sheet('no');
    expect(screen.getByTestId<HTMLInputElement>('remember').checked).toBe(false);
    await fireEvent.click(screen.getByTestId('accept'));
    expect(onaccept).toHaveBeenCalledWith(false);
  });

  it('ticked, is told with the answer', async () => {
    const onaccept = sheet('asked');
    expect(screen.getByText(/wants to remember this device/)).toBeTruthy();
    await fireEvent.click(screen.getByTestId('remember'));
    await fireEvent.click(screen.getByTestId('accept'));
    expect(onaccept).toHaveBeenCalledWith(true);
  });

  it.each([
    ['not_here', true, 'without https somebody on the network'],
    ['not_here', false, 'the browser gives it no storage'],
    ['not_there', false, 'its page came without https'],
  ] as const)('is replaced by the reason where it cannot be: %s, LAN page %s', (remember, lanPage, reason) => {
    sheet(remember, lanPage);
    expect(screen.queryByTestId('remember')).toBeNull();
    expect(screen.getByTestId('remember-impossible').textContent).toContain(reason);
  });

  it('is not there for a device that is remembered', () => {
    sheet('yes');
    expect(screen.queryByTestId('remember')).toBeNull();
  });
});

describe('PolicyField', () => {
  function field(policy: Policy) {
    const onchange = vi.fn();
    render(PolicyField, { name: 'Violet Otter', policy, onchange });
    return onchange;
  }

  it('asks for a size only where one counts', async () => {
    const onchange = field({ kind: 'ask' });
    expect(screen.queryByTestId('policy-limit')).toBeNull();
    await fireEvent.change(screen.getByTestId('policy'), { target: { value: 'accept_under' } });
    expect(onchange).toHaveBeenCalledWith({ kind: 'accept_under', bytes: 2_000_000_000 });
  });

  it('takes decimal gigabytes, and puts back what is no size', async () => {
    const onchange = field({ kind: 'accept_under', bytes: 2_000_000_000 });
    const limit = screen.getByTestId<HTMLInputElement>('policy-limit');
    await fireEvent.change(limit, { target: { value: '1.5' } });
    expect(onchange).toHaveBeenCalledWith({ kind: 'accept_under', bytes: 1_500_000_000 });
    onchange.mockClear();
    await fireEvent.change(limit, { target: { value: '-1' } });
    expect(onchange).not.toHaveBeenCalled();
    expect(limit.value).toBe('2');
  });
});

describe('the devices of the settings', () => {
  const remembered = demoDevice({ remember: 'yes', policy: { kind: 'ask' }, presence: 'offline', lastSeenMs: Date.now() - 7_200_000 });

  it('say when a device was last connected', () => {
    render(DevicesCard, { devices: [remembered, demoDevice({ id: 'other', remember: 'no' })], lanPage: false, onpolicy: vi.fn(), onforget: vi.fn() });
    expect(screen.getAllByTestId('remembered-device')).toHaveLength(1);
    expect(screen.getByText(/last connected 2 hours ago/)).toBeTruthy();
  });

  it('forget only after asking', async () => {
    const onforget = vi.fn();
    render(DevicesCard, { devices: [remembered], lanPage: false, onpolicy: vi.fn(), onforget });
    await fireEvent.click(screen.getByRole('button', { name: 'Forget' }));
    expect(onforget).not.toHaveBeenCalled();
    await fireEvent.click(screen.getByTestId('forget-now'));
    expect(onforget).toHaveBeenCalledWith('studio');
  });

  it('say on a LAN page why nobody is there', () => {
    render(DevicesCard, { devices: [], lanPage: true, onpolicy: vi.fn(), onforget: vi.fn() });
    expect(screen.getByText(/without https somebody on the network/)).toBeTruthy();
  });
});

describe('the stop page', () => {
  it('for a changed key offers to stop, first, and to forget', async () => {
    const calls = { onclose: vi.fn(), onforget: vi.fn() };
    render(AlarmSheet, { device: demoDevice(), failure: 'key_changed', ...calls });
    expect(screen.getByRole('heading').textContent).toMatch(/Studio Desktop.*has another key than before/);
    await fireEvent.click(screen.getByTestId('alarm-stop'));
    expect(calls.onclose).toHaveBeenCalledOnce();
    await fireEvent.click(screen.getByTestId('forget-and-pair'));
    expect(calls.onforget).toHaveBeenCalledOnce();
  });

  it.each(['wrong_key', 'pictures_differ', 'crowded', 'bind_failed'] as const)('for %s offers nothing but to stop', (failure) => {
    render(AlarmSheet, { device: demoDevice(), failure, onclose: vi.fn(), onforget: vi.fn() });
    expect(screen.queryByTestId('forget-and-pair')).toBeNull();
    expect(screen.getByTestId('alarm-stop')).toBeTruthy();
  });
});
