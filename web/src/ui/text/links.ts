/** A run of received text: plain, or something that looks like a web address. */
export type TextRun = { kind: 'plain'; text: string } | { kind: 'link'; text: string; url: string; host: string };

const LINK = /https?:\/\/[^\s<>"'`{}|\\^\u2066-\u2069\u202a-\u202e]+/giu;
/** Ends a sentence rather than an address. */
const TRAILING = /[.,;:!?)\]»”’]+$/u;

/**
 * Splits text at its web addresses. `host` is what the browser would really open: lower case, and punycode when
 * letters of another script imitate a known name.
 */
export function splitLinks(text: string): TextRun[] {
  const runs: TextRun[] = [];
  let from = 0;
  for (const match of text.matchAll(LINK)) {
    const shown = match[0].replace(TRAILING, '');
    const url = parse(shown);
    if (url === null) continue;
    if (match.index > from) runs.push({ kind: 'plain', text: text.slice(from, match.index) });
    runs.push({ kind: 'link', text: shown, url: url.href, host: url.host });
    from = match.index + shown.length;
  }
  if (from < text.length) runs.push({ kind: 'plain', text: text.slice(from) });
  return runs;
}

function parse(text: string): URL | null {
  try {
    return new URL(text);
  } catch {
    return null;
  }
}
