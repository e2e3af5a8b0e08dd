/** The one pair of candidates that carries the packets, out of everything `getStats` tells. */
import type { CandidateStats } from './route';

/** As much of `RTCStatsReport` as is read. */
export interface StatsReport {
  forEach(each: (entry: unknown) => void): void;
  get(id: string): unknown;
}

export interface SelectedPair {
  local: CandidateStats;
  remote: CandidateStats;
  rttSeconds: number | null;
}

/**
 * `null` while there is none. The transport names it; Firefox marks it `selected` instead. Where neither is told, it is
 * the only nominated pair that works: of several, nobody knows which.
 */
export function selectedPair(stats: StatsReport): SelectedPair | null {
  let named: unknown;
  const marked: string[] = [];
  const nominated: string[] = [];
  stats.forEach((entry) => {
    if (typeof entry !== 'object' || entry === null || !('type' in entry) || !('id' in entry)) return;
    if (entry.type === 'transport' && 'selectedCandidatePairId' in entry) named = entry.selectedCandidatePairId;
    if (entry.type !== 'candidate-pair' || typeof entry.id !== 'string') return;
    if ('selected' in entry && entry.selected === true) marked.push(entry.id);
    const works = 'state' in entry && entry.state === 'succeeded';
    if (works && 'nominated' in entry && entry.nominated === true) nominated.push(entry.id);
  });
  const id = typeof named === 'string' ? named : (marked[0] ?? (nominated.length === 1 ? nominated[0] : undefined));
  return id === undefined ? null : pair(stats, stats.get(id));
}

function pair(stats: StatsReport, entry: unknown): SelectedPair | null {
  if (typeof entry !== 'object' || entry === null) return null;
  if (!('localCandidateId' in entry) || !('remoteCandidateId' in entry)) return null;
  const { localCandidateId, remoteCandidateId } = entry;
  if (typeof localCandidateId !== 'string' || typeof remoteCandidateId !== 'string') return null;
  const rtt = 'currentRoundTripTime' in entry ? entry.currentRoundTripTime : null;
  return {
    local: candidate(stats.get(localCandidateId)),
    remote: candidate(stats.get(remoteCandidateId)),
    rttSeconds: typeof rtt === 'number' ? rtt : null,
  };
}

function candidate(entry: unknown): CandidateStats {
  const found: CandidateStats = {};
  if (typeof entry !== 'object' || entry === null) return found;
  if ('candidateType' in entry && typeof entry.candidateType === 'string') found.candidateType = entry.candidateType;
  if ('address' in entry && typeof entry.address === 'string') found.address = entry.address;
  if ('port' in entry && typeof entry.port === 'number') found.port = entry.port;
  return found;
}
