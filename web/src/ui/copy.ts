/**
 * Puts text on the clipboard; `false` when the browser refused.
 *
 * On plain http there is no `navigator.clipboard`; the older command works from a selected field. The field must stand
 * inside an open modal dialog, because everything else is inert.
 */
export async function copyText(text: string): Promise<boolean> {
  if (window.isSecureContext) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      // Permission denied, or the page lost the focus: the older way may still work.
    }
  }
  const focused = document.activeElement;
  const host = focused?.closest('dialog') ?? document.body;
  const field = document.createElement('textarea');
  field.value = text;
  field.readOnly = true;
  field.className = 'hidden-text';
  host.append(field);
  field.select();
  const copied = document.execCommand('copy');
  field.remove();
  if (focused instanceof HTMLElement) focused.focus();
  return copied;
}
