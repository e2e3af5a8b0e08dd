/** Readers that turn `unknown` into a proven value, or say where it is wrong. */
import { decodeBase64Url } from './base64url';

/** The message is not one this version knows. `path` names the field, never its value. */
export class DecodeError extends Error {
  constructor(
    readonly path: string,
    readonly problem: string,
  ) {
    super(`${path === '' ? 'message' : path}: ${problem}`);
    this.name = 'DecodeError';
  }
}

export const U8 = 0xff;
export const U16 = 0xffff;
export const U32 = 0xffff_ffff;

const encoder = new TextEncoder();

/** Parses JSON text of at most `limitBytes`; nothing longer is looked at. */
export function parseJson(text: string, limitBytes: number): unknown {
  // A text has at least as many UTF-8 bytes as UTF-16 units, so most oversized texts need no encoding.
  if (text.length > limitBytes || encoder.encode(text).length > limitBytes) {
    throw new DecodeError('', `longer than ${String(limitBytes)} bytes`);
  }
  try {
    const value: unknown = JSON.parse(text);
    return value;
  } catch {
    throw new DecodeError('', 'not JSON');
  }
}

function isRecord(input: unknown): input is Readonly<Record<string, unknown>> {
  return typeof input === 'object' && input !== null && !Array.isArray(input);
}

/** The fields of one JSON object. Unknown fields are ignored, so that a later version may add some. */
export class Fields {
  readonly #record: Readonly<Record<string, unknown>>;

  constructor(
    input: unknown,
    readonly path = '',
  ) {
    if (!isRecord(input)) throw new DecodeError(path, 'not an object');
    this.#record = input;
  }

  /** Whether an optional field is there; `null` counts as absent. */
  has(key: string): boolean {
    return Object.hasOwn(this.#record, key) && this.#record[key] !== null;
  }

  /** An integer of `0..=max`. */
  integer(key: string, max: number): number {
    const value = this.#value(key);
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0 || value > max) {
      throw this.#wrong(key, `not an integer of 0 to ${String(max)}`);
    }
    return value;
  }

  flag(key: string): boolean {
    const value = this.#value(key);
    if (typeof value !== 'boolean') throw this.#wrong(key, 'not true or false');
    return value;
  }

  /** Text of at most `maxBytes` in UTF-8. */
  text(key: string, maxBytes: number): string {
    const value = this.#value(key);
    if (typeof value !== 'string') throw this.#wrong(key, 'not a text');
    if (value.length > maxBytes || encoder.encode(value).length > maxBytes) {
      throw this.#wrong(key, `longer than ${String(maxBytes)} bytes`);
    }
    return value;
  }

  /** A name for people: 1 to `maxBytes` bytes. */
  name(key: string, maxBytes: number): string {
    const name = this.text(key, maxBytes);
    if (name === '') throw this.#wrong(key, 'empty');
    return name;
  }

  /** 16 opaque bytes: 22 characters of canonical base64url. */
  id(key: string): string {
    const text = this.text(key, 22);
    if (text.length !== 22 || decodeBase64Url(text) === null) throw this.#wrong(key, 'not an identifier');
    return text;
  }

  /** Opaque bytes in canonical base64url, at most `maxBytes` of them. */
  bytes(key: string, maxBytes: number): string {
    const text = this.text(key, Math.ceil((maxBytes * 4) / 3));
    if (decodeBase64Url(text) === null) throw this.#wrong(key, 'not base64url without padding');
    return text;
  }

  /** The 4 to 6 digits of a spoken code. */
  nameplate(key: string): string {
    const text = this.text(key, 6);
    if (!/^[0-9]{4,6}$/.test(text)) throw this.#wrong(key, 'not a nameplate');
    return text;
  }

  /** One word of a closed set, given as a record so that the compiler sees when one is missing. */
  word<Word extends string>(key: string, words: Readonly<Record<Word, Word>>): Word {
    const value = this.#value(key);
    for (const word of Object.values<Word>(words)) {
      if (word === value) return word;
    }
    throw this.#wrong(key, 'not a word known here');
  }

  /** At most `maxItems` items. */
  list<Item>(key: string, maxItems: number, item: (input: unknown, path: string) => Item): Item[] {
    const value = this.#value(key);
    if (!Array.isArray(value)) throw this.#wrong(key, 'not a list');
    if (value.length > maxItems) throw this.#wrong(key, `more than ${String(maxItems)} items`);
    return value.map((input: unknown, index) => item(input, `${this.#name(key)}[${String(index)}]`));
  }

  /** A nested object. */
  object(key: string): Fields {
    return new Fields(this.#value(key), this.#name(key));
  }

  #value(key: string): unknown {
    if (!Object.hasOwn(this.#record, key)) throw this.#wrong(key, 'missing');
    return this.#record[key];
  }

  #name(key: string): string {
    return this.path === '' ? key : `${this.path}.${key}`;
  }

  #wrong(key: string, problem: string): DecodeError {
    return new DecodeError(this.#name(key), problem);
  }
}

/** An item of a list of numbers. */
export function integerItem(max: number): (input: unknown, path: string) => number {
  return (input, path) => {
    if (typeof input !== 'number' || !Number.isSafeInteger(input) || input < 0 || input > max) {
      throw new DecodeError(path, `not an integer of 0 to ${String(max)}`);
    }
    return input;
  };
}

/** An item of a list of texts. */
export function textItem(maxBytes: number): (input: unknown, path: string) => string {
  return (input, path) => {
    if (typeof input !== 'string') throw new DecodeError(path, 'not a text');
    if (encoder.encode(input).length > maxBytes) throw new DecodeError(path, `longer than ${String(maxBytes)} bytes`);
    return input;
  };
}
