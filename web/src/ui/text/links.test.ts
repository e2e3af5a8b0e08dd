import { describe, expect, it } from 'vitest';
import { splitLinks } from './links';

describe('splitLinks', () => {
  it('leaves the full stop and the brackets of the sentence outside', () => {
    expect(splitLinks('see (https://example.org/a?b=1).')).toEqual([
      { kind: 'plain', text: 'see (' },
      { kind: 'link', text: 'https://example.org/a?b=1', url: 'https://example.org/a?b=1', host: 'example.org' },
      { kind: 'plain', text: ').' },
    ]);
  });

  it('names the host that would really be opened', () => {
    const hosts = splitLinks('https://user@evil.example/ https://аpple.example/').flatMap((run) => (run.kind === 'link' ? [run.host] : []));
    expect(hosts).toEqual(['evil.example', 'xn--pple-43d.example']);
  });

  it.each(['javascript:alert(1)', 'data:text/html,x', 'ftp://example.org', 'no link', ''])('%j has no link', (text) => {
    expect(splitLinks(text).every(({ kind }) => kind === 'plain')).toBe(true);
  });

  it('gives back every character', () => {
    const text = 'a https://b.example, c\nhttp://[bad https://d.example/ü!';
    expect(splitLinks(text).map((run) => run.text).join('')).toBe(text);
  });
});
