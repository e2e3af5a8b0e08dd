import { isLocale, preferredLocale, type Locale } from '../i18n/messages.svelte';

export type Theme = 'system' | 'light' | 'dark';

/** How this browser likes the page: looks and keys, nothing about people or files. */
export interface Preferences {
  theme: Theme;
  locale: Locale;
  /** Single-letter shortcuts are on. */
  letterKeys: boolean;
}

const KEY = 'lanyard.preferences';

/** Reactive; {@link savePreferences} keeps it for the next visit. */
export const preferences: Preferences = $state(loadPreferences());

/** Keeps the preferences where the browser allows it. */
export function savePreferences(): void {
  try {
    localStorage.setItem(KEY, JSON.stringify(preferences));
  } catch {
    // Storage is blocked or full: the choice holds until the page is closed.
  }
}

function loadPreferences(): Preferences {
  const stored = readStored();
  const theme = stored['theme'];
  const locale = stored['locale'];
  return {
    theme: theme === 'light' || theme === 'dark' ? theme : 'system',
    locale: (typeof locale === 'string' ? isLocale(locale) : null) ?? preferredLocale(navigator.languages),
    letterKeys: stored['letterKeys'] !== false,
  };
}

function readStored(): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(localStorage.getItem(KEY) ?? '{}');
    return typeof value === 'object' && value !== null ? { ...value } : {};
  } catch {
    return {};
  }
}
