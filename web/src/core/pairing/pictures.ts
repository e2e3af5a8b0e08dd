// The short authentication string of a nearby pairing: four pictures out of 64, 24 bits (PA-12).

import { at } from './bytes';
import { derive, deriveShort } from './kdf';

/** One of 64 pictures, distinct in shape and colour. */
export interface Picture {
  /** Its place in the list, 0 to 63. */
  readonly index: number;
  /** One code point that every system since 2018 draws in colour. */
  readonly emoji: string;
  /** What to say, and what a screen reader reads. */
  readonly name: string;
}

/** Four pictures, in order. */
export type PictureRow = readonly [Picture, Picture, Picture, Picture];

/** One right row among two wrong ones. */
export type PictureRows = readonly [PictureRow, PictureRow, PictureRow];

/** What I sends first, so that it cannot choose its nonce after it has seen R's. */
export function commitment(nonceI: Uint8Array): Uint8Array {
  return derive('lanyard/1 sas commit', nonceI);
}

export function pictureRow(handshakeHash: Uint8Array, nonceI: Uint8Array, nonceR: Uint8Array): PictureRow {
  const short = deriveShort('lanyard/1 sas', 3, handshakeHash, nonceI, nonceR);
  const bits = (at(short, 0) << 16) | (at(short, 1) << 8) | at(short, 2);
  return mapRow((column) => picture((bits >> (18 - 6 * column)) & 63));
}

/** The right row among two wrong ones, and its place. The three differ in every column, so one look decides. */
export function choices(right: PictureRow, random: Uint8Array): { rows: PictureRows; place: number } {
  const number = (index: number): number => (at(random, 2 * index) << 8) | at(random, 2 * index + 1);
  // Two different steps away from the right picture, out of 63 and then 62 that remain.
  const step = (row: 0 | 1, column: number): number => {
    const first = 1 + (number(1 + 2 * column) % 63);
    const second = 1 + (number(2 + 2 * column) % 62);
    if (row === 0) return first;
    return second >= first ? second + 1 : second;
  };
  const wrong = (row: 0 | 1): PictureRow =>
    mapRow((column) => picture((right[column].index + step(row, column)) % 64));
  const place = number(0) % 3;
  const [first, second] = [wrong(0), wrong(1)];
  if (place === 0) return { rows: [right, first, second], place };
  return { rows: place === 1 ? [first, right, second] : [first, second, right], place };
}

export function sameRow(one: PictureRow, other: PictureRow): boolean {
  return one.every((picture, column) => picture.index === other[column]?.index);
}

type Column = 0 | 1 | 2 | 3;

function mapRow(pick: (column: Column) => Picture): PictureRow {
  return [pick(0), pick(1), pick(2), pick(3)];
}

function picture(index: number): Picture {
  const found = PICTURES[index];
  if (found === undefined) throw new RangeError('a picture has six bits');
  return found;
}

// Chosen so that no two are easily taken for each other, on a small screen or said aloud.
const NAMED: readonly (readonly [emoji: string, name: string])[] = [
  ['🦊', 'fox'],
  ['🐢', 'turtle'],
  ['🐙', 'octopus'],
  ['🐝', 'bee'],
  ['🐘', 'elephant'],
  ['🐧', 'penguin'],
  ['🦋', 'butterfly'],
  ['🐌', 'snail'],
  ['🐳', 'whale'],
  ['🦀', 'crab'],
  ['🦒', 'giraffe'],
  ['🐸', 'frog'],
  ['🦉', 'owl'],
  ['🐷', 'pig'],
  ['🐓', 'rooster'],
  ['🐍', 'snake'],
  ['🍋', 'lemon'],
  ['🍎', 'apple'],
  ['🍇', 'grapes'],
  ['🍌', 'banana'],
  ['🍉', 'melon'],
  ['🥕', 'carrot'],
  ['🌽', 'corn'],
  ['🍄', 'mushroom'],
  ['🌵', 'cactus'],
  ['🌻', 'sunflower'],
  ['🌴', 'palm tree'],
  ['🍀', 'clover'],
  ['🍕', 'pizza'],
  ['🧀', 'cheese'],
  ['🍩', 'doughnut'],
  ['🎂', 'cake'],
  ['🔑', 'key'],
  ['🔔', 'bell'],
  ['🎲', 'die'],
  ['🚲', 'bicycle'],
  ['⛵', 'boat'],
  ['🚀', 'rocket'],
  ['🚗', 'car'],
  ['🚂', 'train'],
  ['🎈', 'balloon'],
  ['☔', 'umbrella'],
  ['🎸', 'guitar'],
  ['🎺', 'trumpet'],
  ['🥁', 'drum'],
  ['📷', 'camera'],
  ['💡', 'light bulb'],
  ['⏰', 'clock'],
  ['⚓', 'anchor'],
  ['🔨', 'hammer'],
  ['📎', 'paper clip'],
  ['🎁', 'present'],
  ['👑', 'crown'],
  ['👓', 'glasses'],
  ['🎩', 'hat'],
  ['👢', 'boot'],
  ['🔥', 'fire'],
  ['🌈', 'rainbow'],
  ['⭐', 'star'],
  ['🌙', 'moon'],
  ['⛄', 'snowman'],
  ['🌍', 'globe'],
  ['🏠', 'house'],
  ['🤖', 'robot'],
];

/** All 64. */
export const PICTURES: readonly Picture[] = NAMED.map(([emoji, name], index) => ({ index, emoji, name }));
