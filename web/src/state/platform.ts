import type { Platform } from '../core/protocol/generated/Platform';

/** What to draw for this device. It decides nothing but the icon and how much memory is thought to be there. */
export function guessPlatform(browser: Pick<Navigator, 'userAgent' | 'maxTouchPoints'>): Platform {
  const agent = browser.userAgent;
  if (/iPad|Tablet/i.test(agent) || (/Macintosh/.test(agent) && browser.maxTouchPoints > 1)) return 'tablet';
  if (/Android/i.test(agent)) return /Mobile/i.test(agent) ? 'phone' : 'tablet';
  return /iPhone|iPod|Mobile/i.test(agent) ? 'phone' : 'computer';
}
