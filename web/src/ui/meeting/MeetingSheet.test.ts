// @vitest-environment jsdom
import { fireEvent, render, screen } from '@testing-library/svelte';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { demoDevice, demoRows } from '../../state/demo';
import { fillInJsdom } from '../jsdom';
import type { AskingMeeting } from '../question';
import MeetingSheet from './MeetingSheet.svelte';

function sheet(meeting: AskingMeeting) {
  const calls = { onpick: vi.fn(), onconfirm: vi.fn(), onstop: vi.fn() };
  render(MeetingSheet, { device: demoDevice({ name: 'Violet Otter' }), meeting, ...calls });
  return calls;
}

describe('MeetingSheet', () => {
  beforeEach(() => {
    fillInJsdom();
  });

  it('connects only after a row was picked, and says which', async () => {
    const { onpick } = sheet({ step: 'pick_row', rows: demoRows() });
    const connect = screen.getByTestId<HTMLButtonElement>('pick-row');
    expect(connect.disabled).toBe(true);
    await fireEvent.click(screen.getByRole('radio', { name: 'fox, boat, cactus, dice' }));
    await fireEvent.click(connect);
    expect(onpick).toHaveBeenCalledWith(1);
  });

  it('takes "None of these" as an answer', async () => {
    const { onpick } = sheet({ step: 'pick_row', rows: demoRows() });
    await fireEvent.click(screen.getByRole('radio', { name: 'None of these' }));
    await fireEvent.click(screen.getByTestId('pick-row'));
    expect(onpick).toHaveBeenCalledWith(null);
  });

  it('asks the side that shows the row whether it was picked', async () => {
    const { onconfirm } = sheet({ step: 'confirm', row: demoRows()[0] ?? [] });
    await fireEvent.click(screen.getByRole('button', { name: 'No' }));
    await fireEvent.click(screen.getByTestId('confirm-pictures'));
    expect(onconfirm.mock.calls).toEqual([[false], [true]]);
  });
});
