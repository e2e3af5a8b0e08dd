const symbols = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'] as const;

/** A no-break space keeps number and unit on one line. */
const NBSP = '\u00a0';

interface Scale {
  readonly symbol: string;
  readonly divisor: number;
}

/** Bytes in decimal units, one decimal under 10: `612 MB`, `1.2 GB`. */
export function formatBytes(bytes: number, locale: string): string {
  const scale = scaleFor(bytes);
  return `${formatScaled(bytes, scale, locale)}${NBSP}${scale.symbol}`;
}

/** Bytes a second, as {@link formatBytes}: `38 MB/s`. */
export function formatRate(bytesPerSecond: number, locale: string): string {
  return `${formatBytes(bytesPerSecond, locale)}/s`;
}

/** Both figures of "2.3 of 3.6 GB" in the unit of the total, which `total` alone names. */
export function formatPart(done: number, total: number, locale: string): { done: string; total: string } {
  const scale = scaleFor(total);
  return { done: formatScaled(done, scale, locale), total: formatBytes(total, locale) };
}

/** 0 to 100, rounded down: 100 % means that nothing is left. */
export function percent(done: number, total: number): number {
  if (total <= 0) return 100;
  return Math.max(0, Math.min(100, Math.floor((done / total) * 100)));
}

function scaleFor(bytes: number): Scale {
  let scale: Scale = { symbol: symbols[0], divisor: 1 };
  for (const [power, symbol] of symbols.entries()) {
    scale = { symbol, divisor: 1000 ** power };
    // 999.6 kB would read "1000 kB": it belongs to the next unit.
    if (Math.round(bytes / scale.divisor) < 1000) break;
  }
  return scale;
}

function formatScaled(bytes: number, { symbol, divisor }: Scale, locale: string): string {
  const value = Math.max(0, bytes) / divisor;
  const digits = symbol === 'B' || Math.round(value * 10) >= 100 || value === 0 ? 0 : 1;
  return value.toLocaleString(locale, { minimumFractionDigits: digits, maximumFractionDigits: digits });
}
