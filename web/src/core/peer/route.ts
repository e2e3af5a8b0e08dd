/** Which way packets take, from what the browser tells of its selected candidate pair. */
import type { Route } from './link';

/** A candidate as `getStats` gives it; browsers leave out what they hide. */
export interface CandidateStats {
  candidateType?: string;
  address?: string | null;
  port?: number;
}

/**
 * What the other side signaled of its candidates. Packets from one that was not signaled, or whose name could not be
 * resolved, come from a peer-reflexive candidate, whose address some browsers hide: its port is what they show.
 */
export class SignaledCandidates {
  readonly #relays = new Set<string>();
  readonly #relayPorts = new Set<number>();
  readonly #hostPorts = new Set<number>();
  #ended = false;

  /** Takes a candidate line (RFC 8839 §5.1) or a whole description with such lines. */
  add(text: string): void {
    for (const line of text.split(/\r?\n/)) {
      const [first = '', , , , address = '', port = '', , type] = line.replace(/^a=/, '').split(' ');
      if (!first.startsWith('candidate:')) continue;
      if (type === 'host') this.#hostPorts.add(Number(port));
      if (type !== 'relay') continue;
      this.#relays.add(endpoint(address, Number(port)));
      this.#relayPorts.add(Number(port));
    }
  }

  /** The other side said that it has no more. */
  end(): void {
    this.#ended = true;
  }

  get ended(): boolean {
    return this.#ended;
  }

  isRelay({ candidateType, address, port }: CandidateStats): boolean {
    if (candidateType === 'relay') return true;
    if (port === undefined) return false;
    const known = shown(address);
    return known === null ? candidateType === 'prflx' && this.#relayPorts.has(port) : this.#relays.has(endpoint(known, port));
  }

  /** Whether the other side itself sends from this port: no address translation is in between. */
  isHostPort(port: number | undefined): boolean {
    return port !== undefined && this.#hostPorts.has(port);
  }
}

/** `null` as long as it depends on a candidate that may still be on its way: packets are faster than signaling. */
export function classifyRoute(
  local: CandidateStats,
  remote: CandidateStats,
  signaled: SignaledCandidates,
): Route['kind'] | null {
  if (local.candidateType === 'relay' || signaled.isRelay(remote)) return 'relayed';
  const address = shown(remote.address);
  // A server-reflexive address says the same: an agent's STUN server on this network reports addresses of this network.
  // A hidden name is resolved by multicast, which ends at the edge of the local network.
  if (address === null) {
    if (remote.candidateType === 'host' || signaled.isHostPort(remote.port)) return 'lan';
    return signaled.ended ? 'internet' : null;
  }
  return isNear(address, shown(local.address)) ? 'lan' : 'internet';
}

function endpoint(address: string, port: number): string {
  return `${address.toLowerCase()} ${String(port)}`;
}

/** An address as far as it is told: `null` for a `.local` name in its place, or nothing at all. */
function shown(address: string | null | undefined): string | null {
  const text = (address ?? '')
    .toLowerCase()
    .replace(/^\[|\]$/g, '')
    .replace(/^::ffff:(?=\d+\.)/, '');
  return text === '' || text.endsWith('.local') ? null : text;
}

/** Whether an address is of the local network, as far as addresses tell. */
function isNear(address: string, own: string | null): boolean {
  if (address.includes(':')) {
    return address === '::1' || /^f[cd]/.test(address) || /^fe[89ab]/.test(address) || samePrefix64(address, own ?? '');
  }
  const [a = 0, b = 0] = address.split('.').map(Number);
  const isPrivate = a === 10 || a === 127 || (a === 172 && b >= 16 && b <= 31) || (a === 192 && b === 168) || (a === 169 && b === 254);
  // Neighbours in the shared address space of a provider (100.64/10) have nothing else in common.
  const isShared = a === 100 && b >= 64 && b <= 127;
  return isPrivate || (!isShared && prefix24(address) === prefix24(own ?? ''));
}

/** Some networks give every machine a public IPv4 address; how large they are is not told, and this is the usual size. */
function prefix24(address: string): string {
  return address.slice(0, Math.max(address.lastIndexOf('.'), 0));
}

function samePrefix64(one: string, other: string): boolean {
  const prefix = prefix64(one);
  return prefix !== null && prefix === prefix64(other);
}

/** The first 64 bits of an IPv6 address, or `null` for anything else. */
function prefix64(address: string): string | null {
  if (!address.includes(':') || address.includes('.')) return null;
  const [head = '', tail] = address.split('::');
  const groups = (text: string | undefined): string[] => (text === undefined || text === '' ? [] : text.split(':'));
  const first = groups(head);
  const last = groups(tail);
  const zeros = tail === undefined ? 0 : 8 - first.length - last.length;
  const all = [...first, ...Array.from({ length: Math.max(zeros, 0) }, () => '0'), ...last];
  if (all.length !== 8) return null;
  return all
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':');
}
