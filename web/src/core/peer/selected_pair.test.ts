import { expect, test } from 'vitest';
import { selectedPair } from './selected_pair';

const report = (...entries: { id: string }[]): Map<string, unknown> => new Map(entries.map((entry) => [entry.id, entry]));
const pair = (id: string, more: object = {}): { id: string } => ({
  id,
  ...{ type: 'candidate-pair', state: 'succeeded', localCandidateId: 'L', remoteCandidateId: `R-${id}`, currentRoundTripTime: 0.002 },
  ...more,
});
const remote = (id: string, candidateType: string): { id: string } => ({
  id: `R-${id}`,
  ...{ type: 'remote-candidate', candidateType, address: '192.168.1.4', port: 5000 },
});

const transport = (id: string, selectedCandidatePairId: string): { id: string } => ({ id, ...{ type: 'transport', selectedCandidatePairId } });

test('the pair that the transport names counts, whatever else was nominated', () => {
  const stats = report(pair('old', { nominated: true }), pair('now'), remote('old', 'relay'), remote('now', 'host'), transport('T', 'now'));
  expect(selectedPair(stats)).toEqual({
    local: {},
    remote: { candidateType: 'host', address: '192.168.1.4', port: 5000 },
    rttSeconds: 0.002,
  });
});

test('a pair marked as selected counts before nominated ones, in any order', () => {
  const entries = [pair('a', { nominated: true }), pair('b', { nominated: true, selected: true }), remote('a', 'relay'), remote('b', 'host')];
  expect(selectedPair(report(...entries))?.remote.candidateType).toBe('host');
  expect(selectedPair(report(...entries.reverse()))?.remote.candidateType).toBe('host');
});

test('of several nominated pairs none is guessed', () => {
  expect(selectedPair(report(pair('a', { nominated: true }), remote('a', 'host')))?.remote.candidateType).toBe('host');
  expect(selectedPair(report(pair('a', { nominated: true }), pair('b', { nominated: true })))).toBeNull();
  expect(selectedPair(report(pair('a', { nominated: true, state: 'failed' })))).toBeNull();
});
