/** Transfers that are over, so that late messages about them are told from wrong ones. */
import type { CancelReason } from '../protocol/generated/CancelReason';
import type { DeclineReason } from '../protocol/generated/DeclineReason';
import { type Outbox, Violation } from './output';

const REMEMBERED = 256;

/** How a transfer ended here. */
export type Ended =
  | { kind: 'finished' }
  | { kind: 'declined'; reason: DeclineReason }
  | { kind: 'cancelled'; reason: CancelReason; byUs: boolean };

export class EndedTransfers {
  #ended: { transfer: string; how: Ended }[] = [];

  remember(transfer: string, how: Ended): void {
    this.#ended = [...this.#ended.slice(1 - REMEMBERED), { transfer, how }];
  }

  find(transfer: string): Ended | null {
    return this.#ended.findLast((ended) => ended.transfer === transfer)?.how ?? null;
  }

  /** Late messages about a transfer that is over are no breach; about one that never was, they are. */
  require(transfer: string): void {
    if (this.find(transfer) === null) throw new Violation('unknown_transfer');
  }

  /** What this side gave up is said again on each later link: the last one may have taken the word along. */
  sayAgain(out: Outbox): void {
    for (const { transfer, how } of this.#ended) {
      if (how.kind === 'cancelled' && how.byUs) out.say({ type: 'cancel', transfer, reason: how.reason });
    }
  }
}
