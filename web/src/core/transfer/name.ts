/** From a path that somebody else wrote to one that is safe to keep and to offer for saving (TR-40 to TR-44). */

/** Bytes of a path as offered. */
export const PATH_BYTES = 1024;
/** Components of a path. */
export const PATH_DEPTH = 32;
/** Bytes of one component as it is made; longer ones are shortened. */
export const COMPONENT_BYTES = 255;
/** Bytes of an extension, dot included, that shortening keeps. */
const KEPT_EXTENSION_BYTES = 32;

export type PathProblem = 'empty' | 'absolute' | 'climbs' | 'control' | 'too_long' | 'too_deep';

/** The path is refused. One bad path refuses the whole offer. */
export class PathError extends Error {
  constructor(readonly problem: PathProblem) {
    super(`the path is ${problem.replace('_', ' ')}`);
    this.name = 'PathError';
  }
}

const encoder = new TextEncoder();
const byteLength = (text: string): number => encoder.encode(text).length;

/**
 * A relative path of 1 to 32 components, each a name that every common file system takes as an ordinary file. What is
 * made safe without asking is listed at `SafePath::parse` in `crates/transfer/src/name.rs`.
 */
export class SafePath {
  private constructor(
    /** The components joined by `/`. */
    readonly text: string,
  ) {}

  /** Reads a path as offered; `/` and `\` both separate. Throws `PathError`. */
  static parse(offered: string): SafePath {
    if (byteLength(offered) > PATH_BYTES) throw new PathError('too_long');
    if (/[\p{Cc}\p{Surrogate}]/u.test(offered)) throw new PathError('control');
    if (/^(?:[/\\]|[A-Za-z]:)/.test(offered)) throw new PathError('absolute');
    const components: string[] = [];
    for (const component of offered.split(/[/\\]/)) {
      if (components.length === PATH_DEPTH) throw new PathError('too_deep');
      if (component === '') throw new PathError('empty');
      if (component === '.' || component === '..') throw new PathError('climbs');
      components.push(safeComponent(component));
    }
    return new SafePath(components.join('/'));
  }

  /** The last component. */
  get fileName(): string {
    return this.text.slice(this.text.lastIndexOf('/') + 1);
  }

  /** What two paths share when some file system holds them to be one: case and normalisation folded away. */
  fold(): string {
    return this.text.normalize('NFC').toUpperCase().toLowerCase().normalize('NFC');
  }
}

function safeComponent(component: string): string {
  let name = component.normalize('NFC').replace(/[<>:"|?*]/g, '_');
  if (name.startsWith('.') || isReserved(name)) name = `_${name}`;
  name = shorten(name);
  const kept = name.replace(/[. ]+$/, '');
  return kept + '_'.repeat(name.length - kept.length);
}

/** Device names of DOS, with any extension; Windows takes superscript digits for digits. */
function isReserved(name: string): boolean {
  const stem = (name.split('.', 1)[0] ?? name).replace(/ +$/, '').toUpperCase();
  return /^(?:CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|CLOCK\$|(?:COM|LPT)[0-9¹²³])$/.test(stem);
}

/** Cuts the stem so that the name fits; a short extension stays. */
function shorten(name: string): string {
  if (byteLength(name) <= COMPONENT_BYTES) return name;
  const dot = name.lastIndexOf('.');
  const tail = dot > 0 ? name.slice(dot) : '';
  const extension = byteLength(tail) <= KEPT_EXTENSION_BYTES ? tail : '';
  const room = COMPONENT_BYTES - byteLength(extension);
  let stem = '';
  let used = 0;
  for (const character of name) {
    used += byteLength(character);
    if (used > room) break;
    stem += character;
  }
  return stem + extension;
}
