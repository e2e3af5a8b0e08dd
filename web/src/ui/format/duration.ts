import { t } from '../../i18n/messages.svelte';

/** How long something takes, in words: `35 s`, `4 min`, `1 h 10 min`. */
export function formatDuration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return t('time.seconds', { n: whole });
  const minutes = Math.round(whole / 60);
  if (minutes < 60) return t('time.minutes', { n: minutes });
  const hours = Math.floor(minutes / 60);
  return minutes % 60 === 0 ? t('time.hours', { n: hours }) : t('time.hours_minutes', { h: hours, m: minutes % 60 });
}

/** What is left of a limit: `0:24`, `9:05`. */
export function formatCountdown(seconds: number): string {
  const whole = Math.max(0, Math.ceil(seconds));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, '0')}`;
}
