// @vitest-environment jsdom
import { fireEvent, render, screen } from '@testing-library/svelte';
import { describe, expect, it, vi } from 'vitest';
import CodeField from './CodeField.svelte';

function shown() {
  const oncode = vi.fn();
  render(CodeField, { online: true, oncode });
  const field = screen.getByTestId<HTMLInputElement>('code-field');
  const type = (value: string) => fireEvent.input(field, { target: { value } });
  const press = (key: string) => fireEvent.keyDown(field, { key });
  const words = () => screen.queryAllByTestId('code-word').map((word) => word.textContent.trim());
  const send = () => fireEvent.submit(field);
  return { oncode, field, type, press, words, send };
}

describe('CodeField', () => {
  it('offers no words before the digits', async () => {
    const { type, words } = shown();
    await type('pian');
    expect(words()).toEqual([]);
  });

  it('completes the word that is being typed, whatever its case', async () => {
    const { type, words } = shown();
    await type('4821 PIA');
    expect(words()).toEqual(['piano']);
  });

  it('takes a tapped word and goes on with the second one', async () => {
    const { field, type, words } = shown();
    await type('4821-pia');
    await fireEvent.click(screen.getByTestId('code-word'));
    expect(field.value).toBe('4821-piano-');
    await type('4821-piano-tig');
    expect(words()).toEqual(['tiger']);
    await fireEvent.click(screen.getByTestId('code-word'));
    expect(field.value).toBe('4821-piano-tiger');
    expect(words()).toEqual([]);
  });

  it('works by keyboard alone: arrows choose, Enter takes, Enter sends', async () => {
    const { oncode, field, type, press, send } = shown();
    await type('4821-ti');
    await press('ArrowDown');
    await press('ArrowDown');
    await press('ArrowUp');
    const first = screen.getAllByTestId('code-word')[0];
    expect(first?.getAttribute('aria-selected')).toBe('true');
    expect(field.getAttribute('aria-activedescendant')).toBe(first?.id);
    await press('Enter');
    expect(oncode).not.toHaveBeenCalled();
    await type('4821-piano-tiger');
    await send();
    expect(oncode).toHaveBeenCalledWith('4821-piano-tiger');
  });

  it('closes the list with Escape', async () => {
    const { type, press, words } = shown();
    await type('4821-pia');
    await press('Escape');
    expect(words()).toEqual([]);
  });

  it.each([
    ['4821', 'Both words are missing'],
    ['4821-piano', 'not two words of the list'],
    ['4821-pinao-tiger', 'not two words of the list'],
    ['piano-tiger', 'begins with its number'],
    ['4821-piano_tiger', 'Only digits, letters'],
  ])('refuses %s with a sentence, and sends nothing', async (typed, sentence) => {
    const { oncode, field, type, send } = shown();
    await type(typed);
    await send();
    expect(oncode).not.toHaveBeenCalled();
    expect(screen.getByTestId('code-note').textContent).toContain(sentence);
    expect(field.getAttribute('aria-invalid')).toBe('true');
  });

  it('passes a link on as it is', async () => {
    const { oncode, type, send } = shown();
    await type('https://relay.example/#1.AAAA.AAAA');
    await send();
    expect(oncode).toHaveBeenCalledWith('https://relay.example/#1.AAAA.AAAA');
  });
});
