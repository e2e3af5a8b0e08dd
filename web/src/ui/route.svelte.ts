/** The screens; the address bar names the one that is shown. */
export const SCREENS = ['nearby', 'transfers', 'text', 'settings'] as const;

export type Screen = (typeof SCREENS)[number];

let current = $state<Screen>(screenOf(location.pathname));

/** The screen on show. */
export function screen(): Screen {
  return current;
}

/** Shows a screen and makes "back" lead to the last one. */
export function go(to: Screen): void {
  if (to === current) return;
  history.pushState(null, '', `/${to}`);
  current = to;
}

/** Follows "back" and "forward". */
export function followHistory(): void {
  current = screenOf(location.pathname);
}

function screenOf(path: string): Screen {
  const name = path.split('/')[1];
  return SCREENS.find((known) => known === name) ?? 'nearby';
}
