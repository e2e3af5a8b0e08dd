/** Which way packets take, from what the browser tells of its selected candidate pair. */
import type { Route } from './link';

/** A candidate as `getStats` gives it; browsers leave out what they hide. */
export interface CandidateStats {
  candidateType?: string;
  address?: string | null;
  port?: number;
}

/** `host:port` of the relayed candidates that the other side signaled: to us such an address looks peer-reflexive. */
export type RemoteRelays = ReadonlySet<string>;

export function classifyRoute(local: CandidateStats, remote: CandidateStats, remoteRelays: RemoteRelays): Route['kind'] {
  const remoteIsRelay =
    remote.candidateType === 'relay' ||
    (typeof remote.address === 'string' && remote.port !== undefined && remoteRelays.has(endpoint(remote.address, remote.port)));
  if (local.candidateType === 'relay' || remoteIsRelay) return 'relayed';
  // A private address that a STUN server reported belongs to a provider's network, not to this one.
  if (remote.candidateType === 'srflx') return 'internet';
  return isNear(remote.address ?? '', local.address ?? '') ? 'lan' : 'internet';
}

/** The endpoint of a relayed candidate line (RFC 8839 §5.1), or `null` for any other. */
export function relayEndpoint(candidate: string): string | null {
  const [, , , , address, port, , type] = candidate.split(' ');
  if (address === undefined || port === undefined || type !== 'relay') return null;
  return endpoint(address, Number(port));
}

function endpoint(address: string, port: number): string {
  return `${address.toLowerCase()} ${String(port)}`;
}

/** Whether an address is of the local network. Hidden ones (`.local`, or none at all) are: nothing else is hidden. */
function isNear(address: string, own: string): boolean {
  const text = address.toLowerCase().replace(/^\[|\]$/g, '').replace(/^::ffff:(?=\d+\.)/, '');
  if (text === '' || text.endsWith('.local')) return true;
  if (text.includes(':')) {
    return text === '::1' || /^f[cd]/.test(text) || /^fe[89ab]/.test(text) || samePrefix64(text, own.toLowerCase());
  }
  const [a = 0, b = 0] = text.split('.').map(Number);
  return a === 10 || a === 127 || (a === 172 && b >= 16 && b <= 31) || (a === 192 && b === 168) || (a === 169 && b === 254);
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
