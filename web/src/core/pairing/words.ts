// The 2048 words of spoken codes: the English list of BIP-39. No two share their first four letters.

import { WORDLIST } from './wordlist';

/** All words, sorted. */
export const WORDS: readonly string[] = WORDLIST.trim().split(/\s+/);

const KNOWN: ReadonlySet<string> = new Set(WORDS);

export function isWord(word: string): boolean {
  return KNOWN.has(word);
}

/** The words that begin with `prefix`, sorted, for completion. Case does not matter; an empty prefix has none. */
export function completeWord(prefix: string): readonly string[] {
  const lower = prefix.toLowerCase();
  return lower === '' ? [] : WORDS.filter((word) => word.startsWith(lower));
}
