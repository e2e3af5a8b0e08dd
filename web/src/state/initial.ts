import type { DoorView, Model, SelfView } from './model';

/** A model in which nothing has happened yet. */
export function initialModel(self: SelfView, door: DoorView): Model {
  return {
    self,
    server: { state: 'connecting' },
    door,
    invitation: null,
    invite: null,
    devices: [],
    offers: [],
    transfers: [],
    texts: [],
    toasts: [],
  };
}
