import { expect, test } from 'vitest';
import { fingerprintOfDescription, parseFingerprint } from './fingerprint';
import { classifyRoute, SignaledCandidates, type CandidateStats } from './route';

const NOTHING = new SignaledCandidates();
const host = (address?: string): CandidateStats => ({ candidateType: 'host', port: 5000, ...(address === undefined ? {} : { address }) });

function signaled(...lines: string[]): SignaledCandidates {
  const candidates = new SignaledCandidates();
  for (const line of lines) candidates.add(line);
  return candidates;
}

test.each([
  ['private IPv4', '192.168.1.4', 'lan'],
  ['10/8', '10.255.0.1', 'lan'],
  ['172.16/12', '172.31.0.9', 'lan'],
  ['just outside 172.16/12', '172.32.0.9', 'internet'],
  ['link-local IPv4', '169.254.3.3', 'lan'],
  ['shared address space of a provider', '100.64.0.1', 'internet'],
  ['mapped IPv4', '::ffff:10.0.0.1', 'lan'],
  ['deprecated site-local IPv6, no longer special', 'fec0::1', 'internet'],
  ['hidden name', '0c1e6a2f.local', 'lan'],
  ['hidden altogether', '', 'lan'],
  ['unique local IPv6', 'fd00::2', 'lan'],
  ['link-local IPv6', 'fe80::1', 'lan'],
  ['global IPv6 of another network', '2001:db8:2::1', 'internet'],
  ['global IPv6 of our own /64', '2001:db8:1:0::9', 'lan'],
  ['public IPv4', '203.0.113.9', 'internet'],
] as const)('a host candidate with a %s address is %s → %s', (_, address, kind) => {
  expect(classifyRoute(host('2001:db8:1::5'), host(address), NOTHING)).toBe(kind);
});

test('a reflexive candidate is judged by its address, for an agent reports those of its own network', () => {
  expect(classifyRoute(host('10.0.0.2'), { candidateType: 'srflx', address: '10.0.0.9', port: 1 }, NOTHING)).toBe('lan');
  expect(classifyRoute(host('10.0.0.2'), { candidateType: 'srflx', address: '203.0.113.9', port: 1 }, NOTHING)).toBe('internet');
});

test('a relay on either side is relayed, also when it looks peer-reflexive', () => {
  const relays = signaled('candidate:1 1 udp 1 10.0.0.7 3479 typ relay raddr 0.0.0.0 rport 0', 'candidate:2 1 udp 1 10.0.0.7 3480 typ host');
  expect(classifyRoute({ candidateType: 'relay' }, host('10.0.0.3'), NOTHING)).toBe('relayed');
  expect(classifyRoute(host('10.0.0.2'), { candidateType: 'relay', address: '10.0.0.7' }, NOTHING)).toBe('relayed');
  expect(classifyRoute(host('10.0.0.2'), { candidateType: 'prflx', address: '10.0.0.7', port: 3479 }, relays)).toBe('relayed');
  expect(classifyRoute(host('10.0.0.2'), { candidateType: 'prflx', address: '10.0.0.7', port: 3480 }, relays)).toBe('lan');
  expect(classifyRoute(host('10.0.0.2'), { candidateType: 'prflx', port: 3479 }, relays)).toBe('relayed');
});

test('a peer-reflexive candidate with a hidden address is near only if it sends from a port that the other side itself has', () => {
  const hosts = signaled('v=0\r\na=candidate:1 1 udp 1 0c1e6a2f.local 40123 typ host\r\n');
  expect(classifyRoute(host(), { candidateType: 'prflx', address: '', port: 40123 }, hosts)).toBe('lan');
  expect(classifyRoute(host(), { candidateType: 'prflx', address: '', port: 61000 }, hosts)).toBeNull();
  hosts.end();
  expect(classifyRoute(host(), { candidateType: 'prflx', address: '', port: 61000 }, hosts)).toBe('internet');
  expect(classifyRoute(host(), { candidateType: 'prflx', address: '192.168.7.7', port: 61000 }, hosts)).toBe('lan');
});

test('public IPv4 addresses of one small network are near each other, those of a provider are not', () => {
  expect(classifyRoute(host('198.51.100.4'), host('198.51.100.200'), NOTHING)).toBe('lan');
  expect(classifyRoute(host('198.51.100.4'), host('198.51.101.4'), NOTHING)).toBe('internet');
  expect(classifyRoute(host('100.64.1.4'), host('100.64.1.9'), NOTHING)).toBe('internet');
  expect(classifyRoute(host(), host('198.51.100.200'), NOTHING)).toBe('internet');
});

test('a fingerprint is read from a description, and two different ones are no answer', () => {
  const bytes = Uint8Array.from({ length: 32 }, (_, at) => at * 8);
  const text = [...bytes].map((byte) => byte.toString(16).padStart(2, '0').toUpperCase()).join(':');
  const line = `a=fingerprint:sha-256 ${text}`;
  expect(parseFingerprint(text)).toEqual(bytes);
  expect(fingerprintOfDescription(`v=0\r\n${line}\r\nm=application\r\n${line}\r\n`)).toEqual(bytes);
  expect(fingerprintOfDescription(`v=0\r\n${line}\r\na=fingerprint:sha-256 ${text.replace('08', '09')}\r\n`)).toBeNull();
  expect(fingerprintOfDescription('v=0\r\na=fingerprint:sha-1 00:11\r\n')).toBeNull();
  expect(parseFingerprint(text.slice(3))).toBeNull();
});
