// Links and QR codes: `https://host/#1.<S>.<F>` (PA-3).

import { equal, fromBase64Url, toBase64Url, utf8 } from './bytes';
import type { RandomBytes } from './entropy';
import { derive } from './kdf';
import { type MailboxId, linkMailbox } from './mailbox';

/** The longest link that is read, in bytes of UTF-8. A link of ours has about 80. */
export const MAX_LINK_BYTES = 512;
/** `#1.<S>.<F>`, both halves of 16 bytes. */
const FRAGMENT_BYTES = 3 + 22 + 1 + 22;

/** What both sides of a link know and the relay does not: 16 random bytes. Draw new ones after each use or ten minutes. */
export class LinkSecret {
  readonly #bytes: Uint8Array;

  private constructor(bytes: Uint8Array) {
    if (bytes.length !== 16) throw new RangeError('a link secret has 16 bytes');
    this.#bytes = bytes;
  }

  static generate(random: RandomBytes): LinkSecret {
    return new LinkSecret(random(16));
  }

  static fromBytes(bytes: Uint8Array): LinkSecret {
    return new LinkSecret(bytes.slice());
  }

  /** Where the shower waits for the opener. */
  mailbox(): MailboxId {
    return linkMailbox(this.#bytes);
  }

  psk(): Uint8Array {
    return derive('lanyard/1 psk', this.#bytes);
  }

  toText(): string {
    return toBase64Url(this.#bytes);
  }
}

/** A link as it is shown, copied, scanned and opened. */
export class Link {
  private constructor(
    /** The page that the link opens, with a slash at its end: name it to the human when it is not our own. */
    readonly base: string,
    readonly secret: LinkSecret,
    /** Who must answer, 16 bytes; somebody who only photographed the code has another key. */
    readonly shower: Uint8Array,
  ) {}

  /**
   * Builds a link on the address of a page, such as `https://relay.example/` or `http://192.168.1.5:8080/`.
   *
   * @throws {LinkError} when `base` is no `http` or `https` address with a host, or has a query or fragment, or when the
   * whole link would be too long.
   */
  static build(base: string, secret: LinkSecret, shower: Uint8Array): Link {
    if (shower.length !== 16) throw new RangeError('a fingerprint has 16 bytes');
    return new Link(checkedBase(base), secret, shower);
  }

  /**
   * Reads a link that was scanned, pasted or opened (`location.href`). White space around it does not matter.
   *
   * @throws {LinkError} that says which part does not fit; nothing is guessed.
   */
  static parse(text: string): Link {
    const trimmed = text.replace(/^\p{White_Space}+|\p{White_Space}+$/gu, '');
    if (utf8(trimmed).length > MAX_LINK_BYTES) throw new LinkError('too_long');
    const hash = trimmed.indexOf('#');
    if (hash < 0) throw new LinkError('no_secret');
    const base = checkedBase(trimmed.slice(0, hash));
    const [secret, shower] = parseFragment(trimmed.slice(hash + 1));
    return new Link(base, LinkSecret.fromBytes(secret), shower);
  }

  /** The whole text. It holds the secret: show it, never log it. */
  toUrl(): string {
    return `${this.base}#1.${this.secret.toText()}.${toBase64Url(this.shower)}`;
  }

  isFrom(publicKeyFingerprint: Uint8Array): boolean {
    return equal(this.shower, publicKeyFingerprint);
  }
}

export type LinkErrorKind = 'too_long' | 'not_a_web_address' | 'no_secret' | 'newer_version' | 'damaged';

const LINK_ERROR_TEXT: Record<LinkErrorKind, string> = {
  too_long: 'this link is too long, a Lanyard link has at most 512 bytes: copy it again',
  not_a_web_address: 'this is not a web address: a Lanyard link begins with https:// or http://',
  no_secret: 'this link lacks the part after #, so it opens nothing: copy all of it',
  newer_version: 'this link was made by a newer Lanyard: update this one',
  damaged: 'this link is damaged or incomplete: copy or scan it again',
};

/** Why a text is no link of ours. */
export class LinkError extends Error {
  override readonly name = 'LinkError';

  constructor(readonly kind: LinkErrorKind) {
    super(LINK_ERROR_TEXT[kind]);
  }
}

function parseFragment(fragment: string): [secret: Uint8Array, shower: Uint8Array] {
  if (fragment === '') throw new LinkError('no_secret');
  const [version, secret, shower, ...more] = fragment.split('.');
  if (version !== '1') throw new LinkError(/^[0-9]{1,4}$/.test(version ?? '') ? 'newer_version' : 'damaged');
  if (secret === undefined || shower === undefined || more.length > 0) throw new LinkError('damaged');
  return [decode16(secret), decode16(shower)];
}

function decode16(text: string): Uint8Array {
  const bytes = text.length === 22 ? fromBase64Url(text) : undefined;
  if (bytes === undefined) throw new LinkError('damaged');
  return bytes;
}

/** `scheme://authority/path`, lower-case scheme, slash at the end, no user, query, fragment, space or control character. */
function checkedBase(base: string): string {
  const parts = /^(https?):\/\/([^/]*)(?:\/(.*))?$/is.exec(base);
  const [, scheme = '', authority = '', path = ''] = parts ?? [];
  const printable = /^[\x21-\x7e]*$/;
  const unsafe = /[\\"<>^`{|}]/;
  if (
    parts === null ||
    authority === '' ||
    authority.startsWith(':') ||
    /[@?#%]/.test(authority) ||
    /[?#]/.test(path) ||
    !printable.test(authority + path) ||
    unsafe.test(authority + path)
  ) {
    throw new LinkError('not_a_web_address');
  }
  const slash = path === '' || path.endsWith('/') ? '' : '/';
  const checked = `${scheme.toLowerCase()}://${authority}/${path}${slash}`;
  // With its slash it may have become too long to be read again.
  if (checked.length + FRAGMENT_BYTES > MAX_LINK_BYTES) throw new LinkError('too_long');
  return checked;
}
