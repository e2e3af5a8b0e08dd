/** Names for devices whose owner has not chosen one: a colour and an animal, easy to say and to tell apart. */

const COLOURS = ['Amber', 'Azure', 'Coral', 'Copper', 'Crimson', 'Golden', 'Indigo', 'Ivory', 'Jade', 'Lilac', 'Mint', 'Olive', 'Pearl', 'Russet', 'Silver', 'Violet'] as const;
const ANIMALS = ['Badger', 'Beaver', 'Falcon', 'Finch', 'Fox', 'Gecko', 'Heron', 'Ibis', 'Lynx', 'Marten', 'Otter', 'Owl', 'Panda', 'Raven', 'Seal', 'Wren'] as const;

/** One of 256 names, by one random byte. */
export function suggestName(byte: number): string {
  return `${COLOURS[byte & 15] ?? COLOURS[0]} ${ANIMALS[(byte >> 4) & 15] ?? ANIMALS[0]}`;
}

const LIMIT_BYTES = 64;

/** What a person typed as a name, within 64 bytes of UTF-8 and without line breaks; `null` when nothing is left. */
export function cleanName(typed: string): string | null {
  let name = typed.replace(/[\p{Cc}\s]+/gu, ' ').trim();
  const encoder = new TextEncoder();
  while (encoder.encode(name).length > LIMIT_BYTES) name = [...name].slice(0, -1).join('').trimEnd();
  return name === '' ? null : name;
}
