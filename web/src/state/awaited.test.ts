import { expect, test } from 'vitest';
import { awaitedActions } from './awaited';
import { demoApp } from './demo';
import type { Actions } from './model';

test('what is asked for before the application is there is carried out in order, with what was said', async () => {
  const app = demoApp();
  let arrive: (actions: Actions) => void = () => undefined;
  const actions = awaitedActions(app.model, new Promise((resolve) => (arrive = resolve)));
  actions.openInvitation();
  actions.rename('Blue Kite');
  actions.confirmPictures('nas', true);
  expect(app.calls).toEqual([]);
  arrive(app.actions);
  await Promise.resolve();
  expect(app.calls).toEqual([['openInvitation'], ['rename', 'Blue Kite'], ['confirmPictures', 'nas', true]]);
});

test('every action has its way to the application', () => {
  const { model, actions } = demoApp();
  expect(Object.keys(awaitedActions(model, Promise.resolve(actions))).sort()).toEqual(Object.keys(actions).sort());
});

test('the answer to a link is shown before it can be carried out, and not again afterwards', async () => {
  const { model, actions } = demoApp();
  const waiting = awaitedActions(model, Promise.resolve(actions));
  model.invitation = { host: 'attic.local', state: 'waiting_for_tap', failure: null };
  waiting.openInvitation();
  expect(model.invitation.state).toBe('connecting');
  waiting.dismissInvitation();
  expect(model.invitation).toBeNull();
  await Promise.resolve();
  model.invitation = { host: 'attic.local', state: 'waiting_for_tap', failure: null };
  waiting.openInvitation();
  expect(model.invitation.state).toBe('waiting_for_tap');
});
