import { expect, test } from 'vitest';
import vectors from '../../../../crates/transfer/vectors/paths.json';
import { type PathAction, type PathKind, Paths } from './paths';

function apply(paths: Paths, now: number, input: string): void {
  const [word, second = '', third = ''] = input.split(' ');
  const number = Number(second);
  const path: PathKind = third === 'lane' ? 'lane' : 'direct';
  if (word === 'attempt') paths.handleAttempt(now, number, path);
  else if (word === 'bound') paths.handleBound(now, number, path);
  else if (word === 'closed') paths.handleClosed(now, number, path, false);
  else if (word === 'impossible') paths.handleClosed(now, number, path, true);
  else if (word === 'silent') paths.handleSilent(now);
  else if (word === 'heard') paths.handleHeard();
  else if (word === 'slow') paths.handleSlow(now);
  else if (word === 'own') paths.setOwnServer(true);
  else if (word === 'asked' && second === 'slow') paths.handleAskedForFaster(now, third === 'own');
  else if (word === 'asked') paths.handleAsked(now, second === 'lane');
  else if (word === 'peer') paths.handlePeerUnreachable(now);
  else if (word === 'network') paths.handleNetworkChange(now);
  else if (word === 'reachable') paths.handleReachable(now);
  else if (word === 'hurried') paths.setHurried(now, true);
  else if (word === 'idle') paths.setHurried(now, false);
  else throw new Error(`no input is called ${input}`);
}

function describeAction(action: PathAction): string {
  switch (action.type) {
    case 'begin':
      return `begin ${String(action.attempt)} ${action.path}`;
    case 'close':
      return `close ${String(action.attempt)}`;
    case 'ask':
      return action.lane ? 'ask lane' : 'ask';
    case 'ask_for_faster':
      return 'ask slow';
    case 'restart_ice':
    case 'check_signaling':
    case 'waiting':
    case 'interrupted':
    case 'well':
      return action.type.replace('_', ' ');
  }
}

test.each(vectors.cases)('paths are tried as in Rust: $name', ({ leads, has_lane, inputs, until_ms, log }) => {
  const said: [number, string][] = [];
  const paths = new Paths(0, leads, has_lane);
  const note = (now: number): void => {
    for (let action = paths.pollAction(); action !== null; action = paths.pollAction()) said.push([now, describeAction(action)]);
  };
  note(0);
  for (const entry of [...inputs, [until_ms, '']]) {
    const [ms, input] = [Number(entry[0]), String(entry[1])];
    for (let due = paths.pollTimeout(); due !== null && due <= ms; due = paths.pollTimeout()) {
      paths.handleTimeout(due, 0.5);
      note(due);
    }
    if (input === '') continue;
    apply(paths, ms, input);
    note(ms);
  }
  expect(said).toEqual(log);
});
