import { describe, expect, it } from 'vitest';
import { isolated, splitFileName, visibleText } from './visible_text';

describe('visibleText', () => {
  it('shows an override that would turn an extension round', () => {
    expect(visibleText('annexe\u202etxt.exe')).toBe('annexe\\u{202e}txt.exe');
  });

  it.each([
    ['line\nbreak', 'line\\u{000a}break'],
    ['bell\u0007', 'bell\\u{0007}'],
    ['zero\u200bwidth', 'zero\\u{200b}width'],
    ['lone\ud800half', 'lone\\u{d800}half'],
    ['tag\u{e0041}', 'tag\\u{e0041}'],
    ['joined\u200dletters', 'joined\\u{200d}letters'],
  ])('%j reads %s', (text, shown) => {
    expect(visibleText(text)).toBe(shown);
  });

  it.each(['Ünïcode 漢字.txt', '👩‍👩‍👧.jpg', 'می‌خواهم.pdf', '<b>not html</b>.txt'])('%s stays as it is', (text) => {
    expect(visibleText(text)).toBe(text);
  });
});

describe('splitFileName', () => {
  it('never puts a part of the extension into the head', () => {
    expect(splitFileName('a very long holiday film from the lake.mov')).toEqual({
      head: 'a very long holiday film from the ',
      tail: 'lake.mov',
    });
  });

  it('leaves a short name whole', () => {
    expect(splitFileName('notes.txt')).toEqual({ head: 'notes.txt', tail: '' });
  });

  it('keeps a bounded tail of a name whose extension is absurd', () => {
    const { tail } = splitFileName(`a.${'x'.repeat(300)}`);
    expect(tail).toBe('xxxxxx');
  });

  it('does not cut inside a character made of several code points', () => {
    const { head, tail } = splitFileName(`${'👩‍👩‍👧'.repeat(20)}.png`);
    expect(head).toBe('👩‍👩‍👧'.repeat(16));
    expect(tail).toBe(`${'👩‍👩‍👧'.repeat(4)}.png`);
  });

  it('takes a leading dot as part of the name', () => {
    expect(splitFileName('.configuration-of-something').tail).toBe('ething');
  });
});

describe('isolated', () => {
  it('wraps right-to-left text only', () => {
    expect(isolated('Studio PC')).toBe('Studio PC');
    expect(isolated('שולחן')).toBe('\u2068שולחן\u2069');
  });
});
