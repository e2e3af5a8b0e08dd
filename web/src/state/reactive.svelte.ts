import type { Model } from './model';

/** The same model, deeply reactive: change it in place and the screens follow. */
export function reactive(initial: Model): Model {
  const model = $state(initial);
  return model;
}
