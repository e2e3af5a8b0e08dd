/**
 * A make-believe application for tests of components and for working on the screens. Never imported by `main.ts`, so
 * it is not in the built page.
 */
import { initialModel } from './initial';
import type { Actions, App, DeviceView, Model, OfferView, PictureRow, SendItem, TransferView } from './model';
import { reactive } from './reactive.svelte';

/** Every action that was called, with its arguments, in order. */
export type Call = [keyof Actions, ...unknown[]];

export interface DemoApp extends App {
  readonly calls: Call[];
}

const ROWS: PictureRow[] = [
  [
    { symbol: '🐢', name: 'turtle' },
    { symbol: '🍋', name: 'lemon' },
    { symbol: '🚲', name: 'bicycle' },
    { symbol: '🔔', name: 'bell' },
  ],
  [
    { symbol: '🦊', name: 'fox' },
    { symbol: '⛵', name: 'boat' },
    { symbol: '🌵', name: 'cactus' },
    { symbol: '🎲', name: 'dice' },
  ],
  [
    { symbol: '🦑', name: 'squid' },
    { symbol: '🍄', name: 'mushroom' },
    { symbol: '🔑', name: 'key' },
    { symbol: '⛄', name: 'snowman' },
  ],
];

/** Connected over the LAN unless told otherwise. */
export function demoDevice(over: Partial<DeviceView> = {}): DeviceView {
  return {
    id: 'studio',
    name: 'Studio Desktop',
    platform: 'computer',
    source: 'this_agent',
    presence: 'connected',
    trust: 'scanned',
    route: { kind: 'lan', rttMs: 2 },
    meeting: null,
    awaySinceMs: null,
    queued: 0,
    remember: 'not_here',
    policy: null,
    lastSeenMs: null,
    inOtherTab: false,
    servesPage: false,
    ...over,
  };
}

/** Three rows of pictures to choose from. */
export function demoRows(): PictureRow[] {
  return ROWS;
}

/** Fourteen files that fit. */
export function demoOffer(over: Partial<OfferView> = {}): OfferView {
  return {
    id: 'offer-1',
    deviceId: 'violet',
    deviceName: 'Violet Otter',
    platform: 'phone',
    trust: 'compared',
    entries: [
      { path: 'IMG_2041.mov', kind: 'file', sizeBytes: 1_200_000_000 },
      { path: 'IMG_2042.heic', kind: 'file', sizeBytes: 3_100_000 },
      { path: 'trip/notes.txt', kind: 'file', sizeBytes: 812 },
      { path: 'trip/empty', kind: 'folder', sizeBytes: 0 },
    ],
    entryCount: 15,
    fileCount: 14,
    totalBytes: 1_815_100_812,
    space: { state: 'fits', freeBytes: 41_000_000_000 },
    byPolicy: false,
    download: 'not_asked',
    expiresAtMs: Date.now() + 60_000,
    ...over,
  };
}

/** One file, 64 % sent. */
export function demoTransfer(over: Partial<TransferView> = {}): TransferView {
  return {
    id: 'transfer-1',
    deviceId: 'studio',
    deviceName: 'Studio Desktop',
    direction: 'send',
    title: 'holiday.zip',
    fileCount: 1,
    doneFiles: 0,
    files: [
      { id: 0, path: 'holiday.zip', sizeBytes: 3_600_000_000, doneBytes: 2_304_000_000, state: 'moving', failure: null, href: null },
    ],
    state: { kind: 'moving' },
    totalBytes: 3_600_000_000,
    doneBytes: 2_304_000_000,
    bytesPerSecond: 38_000_000,
    etaSeconds: 35,
    route: { kind: 'lan', rttMs: 2 },
    startedAtMs: Date.now() - 61_000,
    endedAtMs: null,
    canSave: false,
    canRetry: false,
    storage: 'memory',
    listHref: null,
    ...over,
  };
}

/** A model with something of everything; `change` edits it before the screens see it. */
export function demoModel(change: (model: Model) => void = () => undefined): Model {
  const model = initialModel(
    { name: 'Amber Heron', platform: 'phone', visibleUntilMs: null, firstRun: false },
    { kind: 'lan', storage: 'memory', receiveLimitBytes: 268_435_456, securePage: null, canCopy: true, canShare: false },
  );
  model.server = { state: 'online' };
  model.devices = [
    demoDevice(),
    demoDevice({ id: 'nas', name: 'Attic NAS', platform: 'server', source: 'mdns', presence: 'listed', trust: null, route: null }),
    demoDevice({ id: 'violet', name: 'Violet Otter', platform: 'phone', source: 'linked', route: { kind: 'relayed', rttMs: 64 } }),
  ];
  change(model);
  return model;
}

/** An application that moves nothing: actions are recorded, and the simplest ones change the model. */
export function demoApp(change?: (model: Model) => void): DemoApp {
  const model = reactive(demoModel(change));
  const calls: Call[] = [];
  const without = <T extends { id: string }>(list: T[], id: string): T[] => list.filter((item) => item.id !== id);
  const actions: Actions = {
    rename: (name) => {
      calls.push(['rename', name]);
      model.self.name = name;
      model.self.firstRun = false;
    },
    setVisible: (seconds) => {
      calls.push(['setVisible', seconds]);
      model.self.visibleUntilMs = seconds > 0 ? Date.now() + seconds * 1000 : null;
    },
    openInvitation: () => {
      calls.push(['openInvitation']);
      if (model.invitation !== null) model.invitation.state = 'connecting';
    },
    dismissInvitation: () => {
      calls.push(['dismissInvitation']);
      model.invitation = null;
    },
    enterCode: (text) => calls.push(['enterCode', text]),
    makeInvite: () => {
      calls.push(['makeInvite']);
      model.invite = {
        state: 'ready',
        link: 'http://192.168.1.20:53380/#1.AAAAAAAAAAAAAAAAAAAAAA.AAAAAAAAAAAAAAAAAAAAAA',
        qr: Array.from({ length: 33 }, (_, y) => Array.from({ length: 33 }, (_, x) => (x * y + x + y) % 3 === 0)),
        code: '4821-piano-tiger',
        expiresAtMs: Date.now() + 600_000,
        failure: null,
      };
    },
    dropInvite: () => {
      calls.push(['dropInvite']);
      model.invite = null;
    },
    extendInvite: () => calls.push(['extendInvite']),
    remember: (deviceId, wanted) => {
      calls.push(['remember', deviceId, wanted]);
      const device = model.devices.find(({ id }) => id === deviceId);
      if (device !== undefined) device.remember = wanted ? 'wanted' : 'no';
    },
    setPolicy: (deviceId, policy) => {
      calls.push(['setPolicy', deviceId, policy]);
      const device = model.devices.find(({ id }) => id === deviceId);
      if (device !== undefined) device.policy = policy;
    },
    forget: (deviceId) => {
      calls.push(['forget', deviceId]);
      model.devices = without(model.devices, deviceId);
    },
    forgetKnownName: (deviceId) => {
      calls.push(['forgetKnownName', deviceId]);
      model.devices = without(model.devices, deviceId);
    },
    connect: (deviceId) => {
      calls.push(['connect', deviceId]);
      const device = model.devices.find(({ id }) => id === deviceId);
      if (device !== undefined) {
        device.presence = 'meeting';
        device.meeting = { step: 'pick_row', rows: ROWS };
      }
    },
    pickRow: (deviceId, row) => calls.push(['pickRow', deviceId, row]),
    confirmPictures: (deviceId, same) => calls.push(['confirmPictures', deviceId, same]),
    disconnect: (deviceId) => {
      calls.push(['disconnect', deviceId]);
      model.devices = without(model.devices, deviceId);
    },
    sendFiles: (deviceId, items) => {
      calls.push(['sendFiles', deviceId, items]);
      model.transfers.unshift(demoTransfer({ id: `transfer-${String(calls.length)}`, deviceId, title: firstName(items) }));
    },
    sendText: (deviceId, text) => {
      calls.push(['sendText', deviceId, text]);
      model.texts.unshift({
        id: `text-${String(calls.length)}`,
        deviceId,
        deviceName: model.devices.find(({ id }) => id === deviceId)?.name ?? '',
        direction: 'send',
        text,
        atMs: Date.now(),
        state: 'delivered',
      });
    },
    acceptOffer: (offerId) => {
      calls.push(['acceptOffer', offerId]);
      model.offers = without(model.offers, offerId);
      model.transfers.unshift(demoTransfer({ id: offerId, direction: 'receive' }));
    },
    downloadOffer: (offerId) => {
      calls.push(['downloadOffer', offerId]);
      const offer = model.offers.find(({ id }) => id === offerId);
      if (offer !== undefined) offer.download = 'asked';
    },
    declineOffer: (offerId) => {
      calls.push(['declineOffer', offerId]);
      model.offers = without(model.offers, offerId);
    },
    extendOffer: (offerId) => calls.push(['extendOffer', offerId]),
    pause: (transferId) => {
      calls.push(['pause', transferId]);
      const transfer = model.transfers.find(({ id }) => id === transferId);
      if (transfer !== undefined) transfer.state = { kind: 'paused', by: 'us', reason: 'person' };
    },
    resume: (transferId) => {
      calls.push(['resume', transferId]);
      const transfer = model.transfers.find(({ id }) => id === transferId);
      if (transfer !== undefined) transfer.state = { kind: 'moving' };
    },
    carryOn: (transferId) => calls.push(['carryOn', transferId]),
    pickAgain: (transferId, items) => calls.push(['pickAgain', transferId, items]),
    sendFailedAgain: (transferId) => calls.push(['sendFailedAgain', transferId]),
    cancelFile: (transferId, fileId) => calls.push(['cancelFile', transferId, fileId]),
    cancel: (transferId) => {
      calls.push(['cancel', transferId]);
      const transfer = model.transfers.find(({ id }) => id === transferId);
      if (transfer !== undefined) transfer.state = { kind: 'cancelled', by: 'us' };
    },
    saveFile: (transferId, fileId) => calls.push(['saveFile', transferId, fileId]),
    saveAll: (transferId) => calls.push(['saveAll', transferId]),
    removeCopy: (transferId) => {
      calls.push(['removeCopy', transferId]);
      model.transfers = without(model.transfers, transferId);
    },
    dismissText: (textId) => {
      calls.push(['dismissText', textId]);
      model.texts = without(model.texts, textId);
    },
    dismissToast: (toastId) => {
      calls.push(['dismissToast', toastId]);
      model.toasts = without(model.toasts, toastId);
    },
  };
  return { model, actions, calls };
}

function firstName(items: SendItem[]): string {
  return items[0]?.path ?? '';
}
