/**
 * What others chose (names of files and devices), made safe to look at.
 *
 * Control characters, bidi overrides and other invisible format characters (general categories Cc, Cf, Zl, Zp) are
 * shown as `\u{202e}`, so that "annexe\u202Etxt.exe" cannot pretend to be a text file. Joiners inside emoji and scripts
 * that need them stay.
 */
export function visibleText(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, (character, offset: number) =>
    isJoiner(character) && joins(text, offset)
      ? character
      : `\\u{${(character.codePointAt(0) ?? 0).toString(16).padStart(4, '0')}}`,
  );
}

/** Inside a sentence: text with right-to-left characters must not turn its neighbours round. */
export function isolated(text: string): string {
  return RIGHT_TO_LEFT.test(text) ? `\u2068${text}\u2069` : text;
}

/**
 * A file name in two parts for middle ellipsis: the head may be shortened, the tail (a few characters and the
 * extension) never is.
 */
export function splitFileName(name: string): { head: string; tail: string } {
  const characters = graphemes(name);
  const dot = characters.lastIndexOf('.');
  const extension = dot > 0 ? characters.length - dot : 0;
  // A longer "extension" is no extension; keeping it whole would push everything else off the screen.
  const kept = extension > 0 && extension <= EXTENSION_MAX ? extension + TAIL : TAIL + 2;
  if (characters.length <= kept + TAIL) return { head: name, tail: '' };
  const cut = characters.length - kept;
  return { head: characters.slice(0, cut).join(''), tail: characters.slice(cut).join('') };
}

const EXTENSION_MAX = 13;
const TAIL = 4;
const RIGHT_TO_LEFT = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\u{10800}-\u{10fff}\u{1e800}-\u{1efff}]/u;

function isJoiner(character: string): boolean {
  return character === '\u200c' || character === '\u200d';
}

/** Whether a zero-width joiner stands between two visible characters that it can join: emoji, or no ASCII at all. */
function joins(text: string, offset: number): boolean {
  const before = text.slice(0, offset).at(-1);
  const after = text.slice(offset + 1).at(0);
  return before !== undefined && after !== undefined && !isAscii(before) && !isAscii(after);
}

function isAscii(character: string): boolean {
  return character.charCodeAt(0) < 0x80;
}

function graphemes(text: string): string[] {
  // Firefox has it since 125.
  if (!('Segmenter' in Intl)) return Array.from(text);
  return Array.from(new Intl.Segmenter(undefined, { granularity: 'grapheme' }).segment(text), (part) => part.segment);
}
