import { describe, expect, it } from 'vitest';
import { demoDevice, demoModel, demoOffer, demoRows } from '../state/demo';
import { nextQuestion } from './question';

const failed = demoDevice({ id: 'failed', meeting: { step: 'failed', failure: 'pictures_differ' } });
const meeting = demoDevice({ id: 'meeting', meeting: { step: 'pick_row', rows: demoRows() } });

describe('nextQuestion', () => {
  it('shows the stop page before the pictures, and the pictures before the files', () => {
    const model = demoModel((m) => {
      m.devices = [meeting, failed];
      m.offers = [demoOffer(), demoOffer({ id: 'second' })];
    });
    expect(nextQuestion(model, [])).toMatchObject({ kind: 'alarm', device: { id: 'failed' } });
    expect(nextQuestion(model, ['failed'])).toMatchObject({ kind: 'meeting', device: { id: 'meeting' } });
    model.devices = [];
    expect(nextQuestion(model, [])).toMatchObject({ kind: 'offer', waiting: 1 });
  });

  it('asks nothing when a device only waits, or declined', () => {
    const model = demoModel((m) => {
      m.devices = [
        demoDevice({ meeting: { step: 'waiting', byUs: true } }),
        demoDevice({ id: 'other', meeting: { step: 'failed', failure: 'declined' } }),
      ];
    });
    expect(nextQuestion(model, [])).toBeNull();
  });
});
