import type { Theme } from './preferences.svelte';

const BACKGROUND = { light: '#fbfaf8', dark: '#14161a' } as const;

/** Draws the page in a theme; the browser's own bars follow. */
export function showTheme(theme: Theme): void {
  document.documentElement.dataset['theme'] = theme;
  for (const meta of document.querySelectorAll<HTMLMetaElement>('meta[name="theme-color"]')) {
    const own = meta.media.includes('dark') ? 'dark' : 'light';
    meta.content = BACKGROUND[theme === 'system' ? own : theme];
  }
}
