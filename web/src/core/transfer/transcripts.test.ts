/** The same transcripts that `crates/transfer/tests/transcripts.rs` plays: both implementations do the same, step by step. */
import { beforeAll, describe, expect, test } from 'vitest';
import { Fields } from '../protocol/decode';
import { type PieceHasher, loadPieceHasher } from './hash';
import { Script } from './script';

const SCENES: Record<string, unknown> = import.meta.glob('../../../../crates/transfer/vectors/*.json', {
  eager: true,
  import: 'default',
});

/** Files of vectors that are no transcripts. */
const OTHER = ['names.json', 'pace.json', 'paths.json', 'values.json'];

interface Step {
  step: unknown;
  outcome: unknown;
}

interface Transcript {
  name: string;
  steps: Step[];
}

const stepOf = (input: unknown): Step => {
  const fields = new Map<string, unknown>(Object.entries(Object(input)));
  return { step: fields.get('step'), outcome: fields.get('outcome') };
};

const transcripts = Object.entries(SCENES)
  .map(([path, sides]): [string, unknown] => [path.slice(path.lastIndexOf('/') + 1), sides])
  .filter(([file]) => !OTHER.includes(file))
  .flatMap(([file, sides]) =>
    new Fields({ sides }).list('sides', 1000, (input, path): Transcript => {
      const fields = new Fields(input, path);
      const part = fields.text(fields.has('side') ? 'side' : 'name', 100);
      return { name: `${file.replace('.json', '')}: ${part}`, steps: fields.list('steps', 100_000, stepOf) };
    }),
  );

let pieceHash: PieceHasher;
beforeAll(async () => {
  pieceHash = await loadPieceHasher();
});

describe('the exchange does as the transcript says', () => {
  test('and there are transcripts', () => {
    expect(transcripts.length).toBeGreaterThan(50);
  });

  test.each(transcripts)('$name', ({ steps }) => {
    const script = new Script(pieceHash);
    steps.forEach(({ step, outcome }, at) => {
      expect(script.apply(step), `step ${String(at)}: ${JSON.stringify(step).slice(0, 300)}`).toEqual(outcome);
    });
  });
});
