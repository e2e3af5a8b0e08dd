import type { Platform } from '../core/protocol/generated/Platform';
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

/** What is known of this device before anything was read from its storage: it has no name yet. */
export function firstModel(platform: Platform, door: Pick<DoorView, 'kind' | 'canCopy' | 'canShare'>): Model {
  const self: SelfView = { name: '', platform, visibleUntilMs: null, firstRun: false };
  return initialModel(self, { ...door, storage: 'memory', receiveLimitBytes: null, securePage: null });
}
