// Spoken codes: `4821-piano-tiger` (PA-4).

import { utf8 } from './bytes';
import type { RandomBytes } from './entropy';
import { WORDS, completeWord, isWord } from './words';

/** The longest text that is read as a code, in bytes of UTF-8. */
export const MAX_CODE_BYTES = 128;

/**
 * A nameplate that the relay knows, and two words that it does not: 22 bits, good for one guess. What counts is the digits
 * and the letters of both words in a row, so hyphens, spaces and case never matter.
 */
export class Code {
  private constructor(
    /** The digits, as the relay has them. */
    readonly nameplate: string,
    readonly words: readonly [string, string],
  ) {}

  /** Draws two words for a nameplate that the relay drew.
   *
   * @throws {CodeError} when the nameplate is not 4 to 6 digits.
   */
  static generate(nameplate: string, random: RandomBytes): Code {
    if (!NAMEPLATE.test(nameplate)) throw new CodeError('no_number');
    const draw = (): string => {
      const [high = 0, low = 0] = random(2);
      // 2048 divides 65536, so every word is equally likely.
      return WORDS[((high << 8) | low) % WORDS.length] ?? '';
    };
    return new Code(nameplate, [draw(), draw()]);
  }

  /**
   * Reads what a person typed, ignoring case, white space, hyphens and dashes.
   *
   * @throws {CodeError} that says what is missing, before anything is sent: a typing error does not burn the code.
   */
  static parse(text: string): Code {
    if (utf8(text).length > MAX_CODE_BYTES) throw new CodeError('too_long');
    const compact = text.replace(SEPARATORS, '').replace(/[A-Z]/g, (letter) => letter.toLowerCase());
    if (/[^0-9a-z]/u.test(compact)) throw new CodeError('strange_character');
    const [, nameplate = '', letters = ''] = /^([0-9]*)(.*)$/.exec(compact) ?? [];
    if (!NAMEPLATE.test(nameplate)) throw new CodeError('no_number');
    if (letters === '') throw new CodeError('no_words');
    const words = splitWords(letters);
    if (words === undefined) throw new CodeError('not_two_words');
    return new Code(nameplate, words);
  }

  /** Whole texts that what was typed so far may become, at most eight, for completion. Only the last word grows. */
  static complete(text: string): string[] {
    if (utf8(text).length > MAX_CODE_BYTES || !/^\p{White_Space}*[0-9]/u.test(text)) return [];
    const begun = /[A-Za-z]*$/.exec(text)?.[0] ?? '';
    const head = text.slice(0, text.length - begun.length);
    return completeWord(begun)
      .slice(0, 8)
      .map((word) => head + word);
  }

  /** What to show and to read out. Never log it. */
  toText(): string {
    return [this.nameplate, ...this.words].join('-');
  }

  /** The letters of both words in a row. */
  password(): string {
    return this.words.join('');
  }
}

export type CodeErrorKind = 'too_long' | 'no_number' | 'no_words' | 'not_two_words' | 'strange_character';

const CODE_ERROR_TEXT: Record<CodeErrorKind, string> = {
  too_long: 'this is too long for a code: a code is a number and two words, such as 4821-piano-tiger',
  no_number: 'a code begins with a number of 4 to 6 digits, such as 4821-piano-tiger',
  no_words: 'the two words are missing: type the whole code, such as 4821-piano-tiger',
  not_two_words: 'these are not two words of the list: check the spelling, the words complete while you type',
  strange_character: 'only digits, letters, spaces and hyphens belong in a code, such as 4821-piano-tiger',
};

/** Why a text is no code. */
export class CodeError extends Error {
  override readonly name = 'CodeError';

  constructor(readonly kind: CodeErrorKind) {
    super(CODE_ERROR_TEXT[kind]);
  }
}

const NAMEPLATE = /^[0-9]{4,6}$/;

/** White space, the hyphen, and the dashes that keyboards make of it. */
const SEPARATORS = /[\p{White_Space}\-\u2010-\u2015\u2212]/gu;

/** The longest first word for which the rest is a word too. */
function splitWords(letters: string): [string, string] | undefined {
  for (let cut = letters.length - 1; cut > 0; cut--) {
    const [first, second] = [letters.slice(0, cut), letters.slice(cut)];
    if (isWord(first) && isWord(second)) return [first, second];
  }
  return undefined;
}
