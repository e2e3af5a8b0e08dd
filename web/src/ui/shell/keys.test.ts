import { describe, expect, it } from 'vitest';
import { shortcutFor } from './keys';

const press = (key: string, over = {}) => ({ key, ctrlKey: false, metaKey: false, altKey: false, repeat: false, ...over });

describe('shortcutFor', () => {
  it.each([
    ['/', { do: 'find' }],
    ['1', { do: 'screen', index: 0 }],
    ['4', { do: 'screen', index: 3 }],
    ['n', { do: 'new_code' }],
    ['?', { do: 'list_keys' }],
    ['5', null],
    ['x', null],
  ])('%s asks for %j', (key, shortcut) => {
    expect(shortcutFor(press(key), false, true)).toEqual(shortcut);
  });

  it('lets letters pass in a field and when they are switched off', () => {
    expect(shortcutFor(press('n'), true, true)).toBeNull();
    expect(shortcutFor(press('n'), false, false)).toBeNull();
  });

  it('opens files with Ctrl or ⌘ and O, in a field too', () => {
    expect(shortcutFor(press('o', { ctrlKey: true }), true, false)).toEqual({ do: 'choose_files' });
    expect(shortcutFor(press('O', { metaKey: true }), false, true)).toEqual({ do: 'choose_files' });
  });

  it("leaves the browser's own combinations alone", () => {
    expect(shortcutFor(press('n', { ctrlKey: true }), false, true)).toBeNull();
    expect(shortcutFor(press('1', { altKey: true }), false, true)).toBeNull();
  });
});
