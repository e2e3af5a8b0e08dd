import type { TransferState } from '../../state/model';

/** How a state is coloured; words and icons say the same. */
export type Tone = 'moving' | 'still' | 'broken' | 'good' | 'bad';

export function toneOf(state: TransferState): Tone {
  switch (state.kind) {
    case 'moving':
      return 'moving';
    case 'waiting':
    case 'paused':
    case 'declined':
    case 'cancelled':
    case 'by_browser':
      return 'still';
    case 'interrupted':
    case 'kept':
      return 'broken';
    case 'done':
      return 'good';
    case 'partly_done':
    case 'failed':
      return 'bad';
  }
}
