// @vitest-environment jsdom
import { fireEvent, render, screen } from '@testing-library/svelte';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { demoOffer } from '../../state/demo';
import type { OfferView } from '../../state/model';
import { fillInJsdom } from '../jsdom';
import OfferSheet from './OfferSheet.svelte';

function sheet(over: Partial<OfferView> = {}) {
  const calls = { onaccept: vi.fn(), ondecline: vi.fn(), onextend: vi.fn() };
  render(OfferSheet, { offer: demoOffer(over), waiting: 0, storage: 'memory', remember: 'no', lanPage: false, ...calls });
  return calls;
}

const accept = () => screen.getByTestId<HTMLButtonElement>('accept');

describe('OfferSheet', () => {
  beforeEach(() => {
    vi.useFakeTimers();
    fillInJsdom();
  });

  afterEach(() => {
    vi.useRealTimers();
  });

  it('has the focus on its heading, so that nothing is pressed by accident', () => {
    sheet();
    expect(document.activeElement).toBe(screen.getByRole('heading', { name: 'Violet Otter' }));
  });

  it('shows three entries and counts the rest, until it is unfolded', async () => {
    sheet();
    expect(screen.getAllByRole('listitem')).toHaveLength(3);
    await fireEvent.click(screen.getByRole('button', { name: /and 12 more/ }));
    expect(screen.getAllByRole('listitem')).toHaveLength(4);
  });

  it.each([
    [{ state: 'checking' } as const],
    [{ state: 'too_large', limitBytes: 1000, where: 'memory' } as const],
  ])('cannot be accepted while the space is %j', async (space) => {
    const { onaccept } = sheet({ space });
    expect(accept().disabled).toBe(true);
    vi.advanceTimersByTime(2000);
    await fireEvent.keyDown(window, { key: 'Enter' });
    expect(onaccept).not.toHaveBeenCalled();
  });

  it('takes Enter as yes, but not the Enter that was on its way when it came up', async () => {
    const { onaccept } = sheet();
    await fireEvent.keyDown(document.body, { key: 'Enter' });
    expect(onaccept).not.toHaveBeenCalled();
    vi.advanceTimersByTime(1500);
    await fireEvent.keyDown(document.body, { key: 'Enter' });
    expect(onaccept).toHaveBeenCalledOnce();
  });

  it('declines with Esc', async () => {
    const { ondecline, onaccept } = sheet();
    await fireEvent.keyDown(screen.getByTestId('offer'), { key: 'Escape' });
    expect(ondecline).toHaveBeenCalledOnce();
    expect(onaccept).not.toHaveBeenCalled();
  });

  it('says exactly how much does not fit', () => {
    sheet({ space: { state: 'too_large', limitBytes: 268_000_000, where: 'memory' }, totalBytes: 1_800_000_000 });
    expect(screen.getByRole('alert').textContent?.replaceAll('\u00a0', ' ')).toContain('1.8 GB is more than this page can hold: 268 MB');
  });
});
