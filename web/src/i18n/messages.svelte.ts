/**
 * The words of the page, in the language of the reader. `t` reads the current messages reactively, so that a change of
 * language redraws what is on the screen.
 */
import en from './en.json';

/** Every sentence there is; English is the source. */
export type MessageKey = keyof typeof en;

/** Forms by count (CLDR plural rules); the count is the parameter `n`. */
type Plural = Partial<Record<Intl.LDMLPluralRule, string>> & { other: string };

/** All sentences of one language: a file that lacks one does not compile. */
export type Messages = Record<MessageKey, string | Plural>;

export type Locale = 'en' | 'de' | 'es' | 'zh';

/** In their own words, for the menu. */
export const LOCALES: Record<Locale, string> = { en: 'English', de: 'Deutsch', es: 'Español', zh: '简体中文' };

const loaders: Record<Locale, () => Promise<Messages>> = {
  en: () => Promise.resolve(en),
  de: async () => (await import('./de.json')).default,
  es: async () => (await import('./es.json')).default,
  zh: async () => (await import('./zh.json')).default,
};

let messages = $state.raw<Messages>(en);
let current = $state<Locale>('en');

/** The language shown. */
export function locale(): Locale {
  return current;
}

/** Loads a language and shows it; stays with the old one when it cannot be loaded. */
export async function setLocale(next: Locale): Promise<void> {
  try {
    messages = await loaders[next]();
    current = next;
    document.documentElement.lang = next;
  } catch {
    // Offline before this language was ever loaded: the page goes on in the one it has.
  }
}

/** The first of the browser's languages that the page speaks. */
export function preferredLocale(languages: readonly string[]): Locale {
  for (const language of languages) {
    const found = isLocale(language.split('-')[0] ?? '');
    if (found !== null) return found;
  }
  return 'en';
}

/** Proves that a stored word is a language of the page. */
export function isLocale(text: string): Locale | null {
  return text === 'en' || text === 'de' || text === 'es' || text === 'zh' ? text : null;
}

/** The sentence for `key` with its `{placeholders}` filled in; numbers are written as the language writes them. */
export function t(key: MessageKey, values: Record<string, string | number> = {}): string {
  const message = messages[key];
  const template = typeof message === 'string' ? message : pluralForm(message, values['n']);
  return template.replace(/\{(\w+)\}/g, (whole, name: string) => {
    const value = values[name];
    if (value === undefined) return whole;
    return typeof value === 'number' ? value.toLocaleString(current) : value;
  });
}

/** "A, B and C" as the language says it. */
export function list(items: readonly string[]): string {
  return new Intl.ListFormat(current, { type: 'conjunction' }).format(items);
}

/** A time of day, with the date when it was not today. */
export function clockTime(atMs: number): string {
  const day = new Intl.DateTimeFormat('en', { dateStyle: 'short' });
  const today = day.format(atMs) === day.format(Date.now());
  const style = today ? ({ timeStyle: 'short' } as const) : ({ dateStyle: 'medium', timeStyle: 'short' } as const);
  return new Intl.DateTimeFormat(current, style).format(atMs);
}

function pluralForm(forms: Plural, count: string | number | undefined): string {
  const rule = new Intl.PluralRules(current).select(Number(count ?? 0));
  return forms[rule] ?? forms.other;
}
