// @vitest-environment jsdom
import { fireEvent, render, screen } from '@testing-library/svelte';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { demoOffer } from '../../state/demo';
import type { OfferView } from '../../state/model';
import { fillInJsdom } from '../jsdom';
import OfferSheet from './OfferSheet.svelte';

function sheet(over: Partial<OfferView> = {}, door: { servesPage?: boolean; securePage?: string } = {}) {
  const calls = { onaccept: vi.fn(), ondecline: vi.fn(), ondownload: vi.fn(), onextend: vi.fn() };
  const page = { storage: 'memory', remember: 'no', lanPage: false, servesPage: false, securePage: null, ...door } as const;
  render(OfferSheet, { offer: demoOffer(over), waiting: 0, ...page, ...calls });
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

  describe('with more than the page can hold', () => {
    const space = { state: 'too_large', limitBytes: 268_000_000, where: 'memory' } as const;

    it('lets the browser download it, after saying what that means', async () => {
      const { ondownload, onaccept } = sheet({ space }, { servesPage: true });
      expect(screen.getByTestId('download-consent').textContent).toContain('anybody on this network could read');
      expect(screen.queryByTestId('accept')).toBeNull();
      expect(screen.queryByTestId('secure-page')).toBeNull();
      await fireEvent.keyDown(window, { key: 'Enter' });
      expect(ondownload).not.toHaveBeenCalled();
      await fireEvent.click(screen.getByTestId('download'));
      expect(ondownload).toHaveBeenCalledOnce();
      expect(onaccept).not.toHaveBeenCalled();
    });

    it('names the secure page where there is one', () => {
      sheet({ space }, { servesPage: true, securePage: 'https://relay.example/' });
      const link = screen.getByTestId<HTMLAnchorElement>('secure-page');
      expect(link.href).toBe('https://relay.example/');
      expect(link.textContent).toContain('relay.example');
    });

    it('says that it waits for the links, and that none came', () => {
      sheet({ space, download: 'asked' }, { servesPage: true });
      expect(screen.getByTestId<HTMLButtonElement>('download').disabled).toBe(true);
      expect(screen.getByText(/Asking/)).toBeTruthy();
    });

    it('offers no download from a device that did not serve the page', () => {
      sheet({ space });
      expect(screen.queryByTestId('download')).toBeNull();
      expect(accept().disabled).toBe(true);
    });
  });

  it('says exactly how much does not fit', () => {
    sheet({ space: { state: 'too_large', limitBytes: 268_000_000, where: 'memory' }, totalBytes: 1_800_000_000 });
    expect(screen.getByRole('alert').textContent?.replaceAll('\u00a0', ' ')).toContain('1.8 GB is too large for this page, which can hold 268 MB');
  });
});
