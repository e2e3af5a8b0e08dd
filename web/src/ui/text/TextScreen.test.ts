// @vitest-environment jsdom
import { fireEvent, render, screen } from '@testing-library/svelte';
import { expect, test, vi } from 'vitest';
import { demoApp, demoDevice } from '../../state/demo';
import TextScreen from './TextScreen.svelte';

const studio = demoDevice();
const attic = demoDevice({ id: 'nas', name: 'Attic NAS', presence: 'listed' });

test('the only connected device is marked, and stays so once something is written', async () => {
  const app = demoApp((model) => (model.devices = [studio, attic]));
  const onchoose = vi.fn();
  render(TextScreen, { app, chosen: null, onchoose, onadd: () => undefined });
  expect(screen.getByRole<HTMLInputElement>('radio', { name: /Studio Desktop/ }).checked).toBe(true);
  await fireEvent.input(screen.getByTestId('text-box'), { target: { value: 'gate 4' } });
  expect(onchoose).toHaveBeenCalledWith('studio');
});

test('a device that was chosen and left is not replaced by another one', async () => {
  const app = demoApp((model) => (model.devices = [attic]));
  render(TextScreen, { app, chosen: 'studio', onchoose: () => undefined, onadd: () => undefined });
  await fireEvent.input(screen.getByTestId('text-box'), { target: { value: 'gate 4' } });
  expect(screen.getByTestId<HTMLButtonElement>('send-text').disabled).toBe(true);
  expect(app.calls).toEqual([]);
});
