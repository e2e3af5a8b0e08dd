import { describe, expect, it } from 'vitest';
import de from './de.json';
import en from './en.json';
import es from './es.json';
import { type MessageKey, type Messages, preferredLocale, t } from './messages.svelte';
import zh from './zh.json';

const locales: Record<string, Messages> = { en, de, es, zh };

/** Every file that may name a sentence. */
const sources: Record<string, string> = import.meta.glob(['../ui/**/*.{ts,svelte}', '!../ui/**/*.test.ts'], {
  query: '?raw',
  import: 'default',
  eager: true,
});

function forms(message: Messages[MessageKey]): string[] {
  return typeof message === 'string' ? [message] : Object.values(message);
}

function placeholders(message: Messages[MessageKey]): string[] {
  return [...new Set(forms(message).flatMap((form) => form.match(/\{\w+\}/g) ?? []))].sort();
}

describe('the words of the page', () => {
  const code = Object.values(sources).join('\n');

  it('are all used', () => {
    const unused = Object.keys(en).filter((key) => !code.includes(`'${key}'`));
    expect(unused).toEqual([]);
  });

  it.each(Object.entries(locales))('%s has every sentence and no other', (_, messages) => {
    expect(Object.keys(messages)).toEqual(Object.keys(en));
  });

  it.each(Object.entries(locales))('%s has the placeholders of the English sentence', (_, messages) => {
    const keys = Object.keys(en) as MessageKey[];
    const unequal = keys.filter((key) => placeholders(messages[key]).join() !== placeholders(en[key]).join());
    expect(unequal).toEqual([]);
  });

  it.each(Object.entries(locales))('%s has a form for every count', (locale, messages) => {
    const rules = new Intl.PluralRules(locale).resolvedOptions().pluralCategories;
    const short = Object.entries(messages).filter(
      ([, message]) => typeof message !== 'string' && [0, 1, 2, 5, 21, 100].some((n) => {
        const rule = new Intl.PluralRules(locale).select(n);
        return !(rule in message) || !rules.includes(rule);
      }),
    );
    expect(short.map(([key]) => key)).toEqual([]);
  });

  it.each(Object.entries(locales))('%s never says "error", "peer", "node" or "client"', (_, messages) => {
    const said = Object.values(messages).flatMap(forms).filter((text) => /\b(error|peer|node|client)\b/i.test(text));
    expect(said).toEqual([]);
  });

  it('get every value that their placeholders name', () => {
    const missing: string[] = [];
    for (const [, key = '', values] of code.matchAll(/\bt\('([a-z_.]+)'(?:,\s*\{([^}]*)\})?/g)) {
      if (!(key in en)) continue;
      for (const name of placeholders(en[key as MessageKey])) {
        if (!new RegExp(`\\b${name.slice(1, -1)}\\b`).test(values ?? '')) missing.push(`${key} ${name}`);
      }
    }
    expect(missing).toEqual([]);
  });
});

describe('t', () => {
  it('chooses the form by the count and fills it in', () => {
    expect(t('offer.wants', { n: 1 })).toBe('wants to send 1 file,');
    expect(t('offer.wants', { n: 1400 })).toBe('wants to send 1,400 files,');
  });

  it('takes text as it is, braces too', () => {
    expect(t('notice.device_connected', { name: '{n} $& <b>' })).toBe('{n} $& <b> is connected.');
  });
});

describe('preferredLocale', () => {
  it.each([
    [['de-AT', 'en'], 'de'],
    [['fr', 'zh-Hant-TW'], 'zh'],
    [['fr'], 'en'],
    [[], 'en'],
  ] as const)('%j gives %s', (languages, locale) => {
    expect(preferredLocale(languages)).toBe(locale);
  });
});
