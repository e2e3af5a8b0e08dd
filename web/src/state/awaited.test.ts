import { expect, test } from 'vitest';
import { awaitedActions } from './awaited';
import { demoApp } from './demo';
import type { Actions } from './model';

test('what is asked for before the application is there is carried out in order, with what was said', async () => {
  const app = demoApp();
  let arrive: (actions: Actions) => void = () => undefined;
  const actions = awaitedActions(new Promise((resolve) => (arrive = resolve)));
  actions.openInvitation();
  actions.rename('Blue Kite');
  actions.confirmPictures('nas', true);
  expect(app.calls).toEqual([]);
  arrive(app.actions);
  await Promise.resolve();
  expect(app.calls).toEqual([['openInvitation'], ['rename', 'Blue Kite'], ['confirmPictures', 'nas', true]]);
});

test('every action has its way to the application', () => {
  const waiting = awaitedActions(Promise.resolve(demoApp().actions));
  expect(Object.keys(waiting).sort()).toEqual(Object.keys(demoApp().actions).sort());
});
