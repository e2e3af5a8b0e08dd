import { expect, test } from 'vitest';
import { fingerprintOfDescription, parseFingerprint } from './fingerprint';
import { classifyRoute, relayEndpoint, type CandidateStats } from './route';

const NO_RELAYS = new Set<string>();
const host = (address?: string): CandidateStats => ({ candidateType: 'host', port: 5000, ...(address === undefined ? {} : { address }) });

test.each([
  ['private IPv4', '192.168.1.4', 'lan'],
  ['172.16/12', '172.31.0.9', 'lan'],
  ['just outside 172.16/12', '172.32.0.9', 'internet'],
  ['link-local IPv4', '169.254.3.3', 'lan'],
  ['shared address space of a provider', '100.64.0.1', 'internet'],
  ['mapped IPv4', '::ffff:10.0.0.1', 'lan'],
  ['hidden name', '0c1e6a2f.local', 'lan'],
  ['hidden altogether', '', 'lan'],
  ['unique local IPv6', 'fd00::2', 'lan'],
  ['link-local IPv6', 'fe80::1', 'lan'],
  ['global IPv6 of another network', '2001:db8:2::1', 'internet'],
  ['global IPv6 of our own /64', '2001:db8:1:0::9', 'lan'],
  ['public IPv4', '203.0.113.9', 'internet'],
] as const)('a host candidate with a %s address is %s → %s', (_, address, kind) => {
  expect(classifyRoute(host('2001:db8:1::5'), host(address), NO_RELAYS)).toBe(kind);
});

test('a reflexive candidate is the internet, even with a private address', () => {
  expect(classifyRoute(host('10.0.0.2'), { candidateType: 'srflx', address: '10.9.9.9', port: 1 }, NO_RELAYS)).toBe('internet');
});

test('a relay on either side is relayed, also when it looks peer-reflexive', () => {
  const relays = new Set([relayEndpoint('candidate:1 1 udp 1 10.0.0.7 3479 typ relay raddr 0.0.0.0 rport 0')].filter((end) => end !== null));
  expect(classifyRoute({ candidateType: 'relay' }, host('10.0.0.3'), NO_RELAYS)).toBe('relayed');
  expect(classifyRoute(host('10.0.0.2'), { candidateType: 'relay', address: '10.0.0.7' }, NO_RELAYS)).toBe('relayed');
  expect(classifyRoute(host('10.0.0.2'), { candidateType: 'prflx', address: '10.0.0.7', port: 3479 }, relays)).toBe('relayed');
  expect(classifyRoute(host('10.0.0.2'), { candidateType: 'prflx', address: '10.0.0.7', port: 3480 }, relays)).toBe('lan');
  expect(relayEndpoint('candidate:1 1 udp 1 10.0.0.7 3479 typ host')).toBeNull();
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
