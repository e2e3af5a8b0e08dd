import type { SendItem } from '../state/model';

/** The sheet that a person opened. */
export type OpenSheet =
  | { kind: 'device'; deviceId: string }
  /** Files or a text without a device yet; one of the two is empty. */
  | { kind: 'choose'; items: SendItem[]; text: string }
  | { kind: 'add' }
  | { kind: 'lan' }
  | { kind: 'keys' };
