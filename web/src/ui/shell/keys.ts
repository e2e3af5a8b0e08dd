/** What a key asks for on the page as a whole. */
export type Shortcut =
  | { do: 'find' }
  | { do: 'screen'; index: number }
  | { do: 'new_code' }
  | { do: 'list_keys' }
  | { do: 'choose_files' };

interface KeyPress {
  readonly key: string;
  readonly ctrlKey: boolean;
  readonly metaKey: boolean;
  readonly altKey: boolean;
  readonly repeat: boolean;
}

/**
 * The shortcut of a key press, or `null`. Single letters never fire in a field, and not at all when the reader
 * switched them off (WCAG 2.1.4).
 */
export function shortcutFor(press: KeyPress, inField: boolean, letterKeys: boolean): Shortcut | null {
  if (press.altKey || press.repeat) return null;
  if (press.ctrlKey || press.metaKey) return press.key.toLowerCase() === 'o' ? { do: 'choose_files' } : null;
  if (inField || !letterKeys) return null;
  switch (press.key) {
    case '/':
      return { do: 'find' };
    case 'n':
      return { do: 'new_code' };
    case '?':
      return { do: 'list_keys' };
    default:
      return /^[1-4]$/.test(press.key) ? { do: 'screen', index: Number(press.key) - 1 } : null;
  }
}

/** Whether what has the focus takes letters itself. */
export function isField(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && target.closest('input, textarea, select, [contenteditable]') !== null;
}
