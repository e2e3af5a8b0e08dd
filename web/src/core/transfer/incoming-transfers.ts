/** All offers to this side, and what became of them. */
import type { ControlMessage } from '../protocol/generated/ControlMessage';
import type { ManifestEntry } from '../protocol/generated/ManifestEntry';
import type { Ended, EndedTransfers } from './ended';
import { type Incoming, type Listed, Listing } from './incoming';
import { type Outbox, Violation } from './output';
import type { Receiving } from './receiving';

/** Received transfers that are complete and wait for the sender's `finished`. */
const COMPLETE_KEPT = 64;

export class IncomingTransfers {
  readonly #all = new Map<string, Incoming>();

  constructor(
    private readonly out: Outbox,
    private readonly ended: EndedTransfers,
  ) {}

  get(transfer: string): Incoming | null {
    return this.#all.get(transfer) ?? null;
  }

  keys(): string[] {
    return [...this.#all.keys()];
  }

  /** The accepted transfer, or `null`. */
  receiving(transfer: string): Receiving | null {
    const state = this.#all.get(transfer)?.state;
    return state?.kind === 'receiving' ? state.receiving : null;
  }

  /** All that are accepted. */
  allReceiving(): Receiving[] {
    return [...this.#all.values()].flatMap(({ state }) => (state.kind === 'receiving' ? [state.receiving] : []));
  }

  /** Whether nothing of it is unfinished. */
  get isIdle(): boolean {
    return [...this.#all.values()].every(({ state }) => state.kind === 'receiving' && state.receiving.isComplete);
  }

  /** A transfer from an earlier page. */
  restore(receiving: Receiving): void {
    this.#add(receiving.id, { state: { kind: 'receiving', receiving }, relisting: null, knownOnLink: false });
  }

  #add(transfer: string, incoming: Incoming): void {
    setInOrder(this.#all, transfer, incoming);
  }

  handleLinkUp(): void {
    for (const incoming of this.#all.values()) incoming.knownOnLink = false;
    for (const receiving of this.allReceiving()) receiving.handleLinkUp();
  }

  handleLinkLost(): void {
    for (const [transfer, incoming] of this.#all) {
      incoming.knownOnLink = false;
      incoming.relisting = null;
      // An offer that was not whole is told again from its start.
      if (incoming.state.kind === 'listing') this.#all.delete(transfer);
      if (incoming.state.kind === 'receiving') incoming.state.receiving.handleLinkLost();
    }
  }

  /** The next part of a long list. */
  pollMessage(): ControlMessage | null {
    for (const { state, knownOnLink } of this.#all.values()) {
      const message = knownOnLink && state.kind === 'receiving' ? state.receiving.pollMessage() : null;
      if (message !== null) return message;
    }
    return null;
  }

  /** `most` may be unfinished at once. */
  handleOffer(transfer: string, listing: Listing, most: number): void {
    const incoming = this.#all.get(transfer);
    if (incoming !== undefined) {
      incoming.relisting = listing;
      return;
    }
    const ended = this.ended.find(transfer);
    switch (ended?.kind) {
      case 'declined':
        this.out.say({ type: 'decline', transfer, reason: ended.reason });
        return;
      case 'cancelled':
        this.out.say({ type: 'cancel', transfer, reason: ended.reason });
        return;
      case 'finished':
        throw new Violation('duplicate_offer');
      case undefined:
        break;
    }
    if (this.#unfinished() < most) {
      this.#add(transfer, { state: { kind: 'listing', listing }, relisting: null, knownOnLink: false });
      return;
    }
    this.out.say({ type: 'decline', transfer, reason: 'busy' });
    this.ended.remember(transfer, { kind: 'declined', reason: 'busy' });
  }

  #unfinished(): number {
    const complete = this.allReceiving().filter(({ isComplete }) => isComplete);
    const unfinished = this.#all.size - complete.length;
    const [first] = complete;
    if (first !== undefined && complete.length >= COMPLETE_KEPT) this.end(first.id, { kind: 'finished' });
    return unfinished;
  }

  handleEntries(transfer: string, first: number, entries: readonly ManifestEntry[]): void {
    const incoming = this.#all.get(transfer);
    if (incoming === undefined) {
      this.ended.require(transfer);
      return;
    }
    const listing = incoming.relisting ?? (incoming.state.kind === 'listing' ? incoming.state.listing : null);
    if (listing === null) throw new Violation('out_of_turn');
    this.#handleListed(transfer, incoming, listing.handleEntries(first, entries));
  }

  #handleListed(transfer: string, incoming: Incoming, listed: Listed): void {
    switch (listed.kind) {
      case 'partly':
        return;
      case 'refused':
        this.out.tell({ type: 'refused', transfer, problem: listed.problem });
        this.out.say({ type: 'decline', transfer, reason: 'bad_manifest' });
        this.end(transfer, { kind: 'declined', reason: 'bad_manifest' });
        return;
      case 'whole':
        break;
    }
    const { manifest } = listed;
    incoming.relisting = null;
    incoming.knownOnLink = true;
    switch (incoming.state.kind) {
      case 'listing':
        incoming.state = { kind: 'offered', manifest };
        this.out.tell({ type: 'offered', transfer });
        return;
      case 'offered':
        if (!incoming.state.manifest.equals(manifest)) throw new Violation('duplicate_offer');
        return;
      case 'receiving':
        if (!incoming.state.receiving.manifest.equals(manifest)) throw new Violation('duplicate_offer');
        incoming.state.receiving.answerAccept(this.out);
        return;
    }
  }

  handleResume(transfer: string): void {
    const incoming = this.#all.get(transfer);
    if (incoming === undefined) {
      const ended = this.ended.find(transfer);
      const reason = ended?.kind === 'cancelled' ? ended.reason : 'unknown_transfer';
      this.out.say({ type: 'cancel', transfer, reason });
      return;
    }
    if (incoming.state.kind !== 'receiving') throw new Violation('out_of_turn');
    incoming.knownOnLink = true;
    incoming.state.receiving.answerHave(this.out);
  }

  handleFinished(transfer: string): void {
    if (!this.#all.has(transfer)) this.ended.require(transfer);
    else if (this.receiving(transfer)?.isComplete === true) this.end(transfer, { kind: 'finished' });
    else throw new Violation('out_of_turn');
  }

  end(transfer: string, how: Ended): void {
    const incoming = this.#all.get(transfer);
    if (incoming === undefined) return;
    this.#all.delete(transfer);
    // Before accept nothing was made, so there is nothing to be removed.
    if (incoming.state.kind === 'receiving') this.out.push({ kind: 'forget', transfer });
    this.ended.remember(transfer, how);
  }
}

/** Maps are walked in the order of ids, so that both implementations do things in one order. */
export function setInOrder<Machine>(map: Map<string, Machine>, id: string, machine: Machine): void {
  map.set(id, machine);
  for (const [other, later] of [...map]) {
    if (other <= id) continue;
    map.delete(other);
    map.set(other, later);
  }
}
