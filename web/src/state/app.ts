/** The application: what a person asks for goes in, and the model shows what became of it. */
import { Code, CodeError, Link, LinkError, Pairing } from '../core/pairing';
import type { MeetingFailure } from '../core/session/failure';
import { RequestError, SignalingClient, type SignalingState } from '../core/signaling/client';
import { requestFailure } from './contact';
import { Contacts } from './contacts';
import type { Environment } from './environment';
import { Invites } from './invites';
import type { Actions, App, Model, ServerView } from './model';
import { cleanName } from './names';
import { Toasts } from './toasts';
import { Transfers } from './transfers';

const REFRESH_MS = 250;
/** Every how many refreshes the routes are asked for. */
const ROUTES_EVERY = 8;
/** A page is listed to strangers that long at most. */
const VISIBLE_SECONDS = 600;

export interface RunningApp extends App {
  /** The network of this device changed: nothing that was open can be trusted to be so. */
  handleNetworkChange(): void;
  /** The page came back to the front. */
  handleVisible(): void;
  /** The page was given a link: it is shown, and opened by a tap. */
  handleInvitation(address: string): void;
  /** The page goes away for good. */
  handleLeave(): void;
}

/** Brings a model to life in which nothing has happened yet; screens may show it already. */
export function startApp(environment: Environment, model: Model): RunningApp {
  const { clock, random, keep, platform, sink } = environment;
  Object.assign(model.self, { name: environment.name.text, firstRun: !environment.name.chosen });
  Object.assign(model.door, { storage: sink.storage, receiveLimitBytes: environment.receiveLimitBytes });
  const toasts = new Toasts(model);
  const transfers = new Transfers(model, environment, toasts);
  const signaling = new SignalingClient({
    open: environment.openSocket,
    clock,
    random: () => (random(1)[0] ?? 0) / 256,
    events: {
      onState: (state) => {
        const view = serverView(state, environment.wallClock(), model.server);
        if (view !== null) model.server = view;
      },
      onWelcome: (device, timeMs) => {
        contacts.handleWelcome(device, timeMs);
      },
      onNearby: (devices) => {
        contacts.handleNearby(devices);
      },
      onRing: (mailbox) => {
        contacts.handleRing(mailbox);
      },
    },
  });
  const contacts = new Contacts(model, environment, signaling, transfers, toasts);
  const invites = new Invites(model, environment, signaling, contacts, toasts);
  /** The contact that the invitation is being opened with. */
  let opening: string | null = null;
  let invitation: Link | null = null;

  const refresh = (count: number): void => {
    if (transfers.busy) transfers.refresh();
    if (count % ROUTES_EVERY === 0) void contacts.refreshRoutes();
    clock.after(REFRESH_MS, () => {
      refresh(count + 1);
    });
  };

  const openLink = (link: Link, onEnded: (failure: MeetingFailure | null) => void): string => {
    const id = contacts.newId();
    const name = hostOf(link.base);
    const stranger = { id, name, platform: 'other', source: 'link', device: null, rang: false } as const;
    contacts.meet(stranger, Pairing.openLink(contacts.self(), link), link.secret.mailbox(), onEnded);
    return id;
  };

  const openCode = async (code: Code): Promise<void> => {
    const mailbox = await signaling.claim(code.nameplate);
    const name = code.nameplate;
    const stranger = { id: contacts.newId(), name, platform: 'other', source: 'code', device: null, rang: false } as const;
    contacts.meet(stranger, Pairing.typeCode(contacts.self(), code), mailbox);
  };

  const failed = (failure: MeetingFailure): void => {
    toasts.show({ kind: 'meeting_failed', name: null, failure });
  };

  const actions: Actions = {
    rename: (typed) => {
      const name = cleanName(typed);
      if (name === null) return;
      model.self.name = name;
      model.self.firstRun = false;
      void keep.setName(name).catch(() => undefined);
      if (model.self.visibleUntilMs !== null) {
        actions.setVisible(Math.round((model.self.visibleUntilMs - environment.wallClock()) / 1000));
      }
    },
    setVisible: (wanted) => {
      const seconds = Math.min(Math.max(wanted, 0), VISIBLE_SECONDS);
      const until = seconds > 0 ? environment.wallClock() + seconds * 1000 : null;
      model.self.visibleUntilMs = until;
      signaling.announce(model.self.name, platform, seconds);
      clock.after(seconds * 1000, () => {
        if (model.self.visibleUntilMs === until) model.self.visibleUntilMs = null;
      });
    },
    openInvitation: () => {
      const view = model.invitation;
      if (view === null || invitation === null || view.state === 'connecting') return;
      view.state = 'connecting';
      view.failure = null;
      opening = openLink(invitation, (failure) => {
        opening = null;
        if (failure === null) model.invitation = null;
        else if (model.invitation !== null) Object.assign(model.invitation, { state: 'failed', failure });
      });
    },
    dismissInvitation: () => {
      model.invitation = null;
      if (opening !== null) contacts.disconnect(opening);
      opening = null;
    },
    enterCode: (text) => {
      try {
        if (text.includes('#')) {
          const link = Link.parse(text);
          if (hostOf(link.base) === hostOf(environment.origin)) openLink(link, () => undefined);
          else toasts.show({ kind: 'other_server', host: hostOf(link.base) });
          return;
        }
        openCode(Code.parse(text)).catch((error: unknown) => {
          failed(error instanceof RequestError ? requestFailure(error) : 'protocol');
        });
      } catch (error) {
        if (!(error instanceof LinkError || error instanceof CodeError)) throw error;
        failed(error.kind === 'newer_version' ? 'version' : 'not_a_link');
      }
    },
    makeInvite: () => {
      invites.make();
    },
    dropInvite: () => {
      invites.drop();
    },
    extendInvite: () => {
      invites.extend();
    },
    connect: (id) => {
      contacts.connect(id);
    },
    pickRow: (id, row) => {
      contacts.pickRow(id, row);
    },
    confirmPictures: (id, same) => {
      contacts.confirmPictures(id, same);
    },
    disconnect: (id) => {
      contacts.disconnect(id);
    },
    remember: (id, wanted) => {
      contacts.remember(id, wanted);
    },
    setPolicy: (id, policy) => {
      contacts.setPolicy(id, policy);
    },
    forget: (id) => {
      contacts.forget(id);
    },
    forgetKnownName: (id) => {
      contacts.forgetKnownName(id);
    },
    sendFiles: (id, items) => {
      contacts.sendFiles(id, items);
    },
    sendText: (id, text) => {
      contacts.sendText(id, text);
    },
    acceptOffer: (id) => {
      transfers.acceptOffer(id);
    },
    declineOffer: (id) => {
      transfers.declineOffer(id, 'declined');
    },
    downloadOffer: (id) => {
      contacts.downloadOffer(id);
    },
    extendOffer: (id) => {
      transfers.extendOffer(id);
    },
    pause: (id) => {
      transfers.pause(id);
    },
    resume: (id) => {
      transfers.resume(id);
    },
    carryOn: (id) => {
      const row = model.transfers.find((one) => one.id === id);
      if (row?.state.kind !== 'kept') return;
      if (row.state.needs === 'permission') void transfers.readAgain(id);
      contacts.connect(row.deviceId);
    },
    pickAgain: (id, items) => {
      void transfers.pickAgain(id, items);
    },
    sendFailedAgain: (id) => {
      const failed = transfers.failedItems(id);
      if (failed !== null) contacts.sendFiles(failed.deviceId, failed.items);
    },
    cancelFile: (id, fileId) => {
      transfers.cancelFile(id, fileId);
    },
    cancel: (id) => {
      transfers.cancel(id);
    },
    saveFile: (id, file) => {
      transfers.saveFile(id, file).catch(() => {
        unsaved(id);
      });
    },
    saveAll: (id) => {
      transfers.saveAll(id).catch(() => {
        unsaved(id);
      });
    },
    removeCopy: (id) => {
      transfers.remove(id);
    },
    dismissText: (id) => {
      model.texts = model.texts.filter((text) => text.id !== id);
    },
    dismissToast: (id) => {
      toasts.dismiss(id);
    },
  };

  const unsaved = (transferId: string): void => {
    const title = model.transfers.find(({ id }) => id === transferId)?.title ?? '';
    toasts.show({ kind: 'transfer_failed', transferId, title, failure: 'not_written' });
  };

  transfers.restore();
  void contacts.load().catch(() => undefined);
  signaling.start();
  refresh(0);
  return {
    model,
    actions,
    handleNetworkChange: () => {
      signaling.reopen();
      contacts.handleNetworkChange();
    },
    handleVisible: () => {
      signaling.retryNow();
    },
    handleInvitation: (address) => {
      invitation = readInvitation(address, model);
    },
    handleLeave: () => {
      contacts.leaveAll();
    },
  };
}

/** A link that the page was given, shown and not yet opened. */
function readInvitation(invitation: string, model: Model): Link | null {
  try {
    const link = Link.parse(invitation);
    model.invitation = { host: hostOf(link.base), state: 'waiting_for_tap', failure: null };
    return link;
  } catch (error) {
    if (!(error instanceof LinkError)) throw error;
    const failure = error.kind === 'newer_version' ? 'version' : 'not_a_link';
    model.invitation = { host: hostOf(invitation), state: 'failed', failure };
    return null;
  }
}

function hostOf(address: string): string {
  return URL.canParse(address) ? new URL(address).host : '';
}

/** `null` when the screens need not change. */
function serverView(state: SignalingState, nowMs: number, before: ServerView): ServerView | null {
  switch (state.state) {
    case 'connecting':
      // Between two attempts the countdown stays: it is the same loss.
      return before.state === 'reconnecting' ? null : { state: 'connecting' };
    case 'online':
      return { state: 'online' };
    case 'reconnecting':
      return {
        state: 'reconnecting',
        sinceMs: before.state === 'reconnecting' ? before.sinceMs : nowMs,
        retryAtMs: nowMs + state.inMs,
      };
    case 'refused':
      return { state: 'refused', tooOld: state.tooOld };
    case 'closed':
      return null;
  }
}
