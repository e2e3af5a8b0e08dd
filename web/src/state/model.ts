/**
 * What the screens draw, and what they may ask for. Screens read a `Model` and call `Actions`; nothing else of the
 * application is visible to them. Everything a person may read comes as a code, so that words live in `i18n` alone.
 *
 * Texts marked *hostile* were written by another device: render them as text, isolated and shortened.
 */
import type { Platform } from '../core/protocol/generated/Platform';
import type { MeetingFailure } from '../core/session/failure';
import type { Policy } from '../core/storage/known';

/** What the screens are given: `model` is deeply reactive and is changed by the application only. */
export interface App {
  readonly model: Model;
  readonly actions: Actions;
}

export interface Model {
  self: SelfView;
  server: ServerView;
  door: DoorView;
  /** The link this page was opened with. Nothing happens until `openInvitation`. */
  invitation: InvitationView | null;
  /** This page's own link and code for adding a device; `null` when none is shown. */
  invite: InviteView | null;
  /** Best first: connected, then this agent, then others by name. */
  devices: DeviceView[];
  /** Somebody wants to send; oldest first. */
  offers: OfferView[];
  /** Active first, newest first. */
  transfers: TransferView[];
  /** Newest first, sent and received. */
  texts: TextView[];
  toasts: ToastView[];
}

export interface SelfView {
  name: string;
  platform: Platform;
  /** Until when this device is listed to strangers (milliseconds since 1970), or `null`. */
  visibleUntilMs: number | null;
  /** No name was chosen yet: the name is a suggestion. */
  firstRun: boolean;
}

/** The connection to the signaling server that served the page. */
export type ServerView =
  | { state: 'connecting' }
  | { state: 'online' }
  /** Lost; tried again at `retryAtMs`. Open links go on without it. */
  | { state: 'reconnecting'; sinceMs: number; retryAtMs: number }
  /** The versions do not fit: `client` means reload the page, `server` means update the server. */
  | { state: 'refused'; tooOld: 'client' | 'server' };

/** By which door the page came, and what it may do there (capability tests, never browser names). */
export interface DoorView {
  kind: 'secure' | 'lan';
  /** Where received files are kept until they are saved. */
  storage: 'disk' | 'memory';
  /** Largest single batch this page can receive, in bytes; `null` when only the free space counts. */
  receiveLimitBytes: number | null;
  /** Where the same page stands over https, if the agent that serves this one told of it. Hostile. */
  securePage: string | null;
  canCopy: boolean;
  canShare: boolean;
}

export interface InvitationView {
  /** The host that the link names, always this page's own. */
  host: string;
  state: 'waiting_for_tap' | 'connecting' | 'failed';
  failure: MeetingFailure | null;
}

export interface InviteView {
  state: 'making' | 'ready' | 'used' | 'failed';
  link: string;
  /** Modules of the QR code, row by row, without a border. Draw dark on white with 4 modules around. */
  qr: boolean[][];
  /** `4821-piano-tiger`, or `null` while the server has not answered. */
  code: string | null;
  expiresAtMs: number;
  /** Why it ended, when `failed`. */
  failure: MeetingFailure | null;
}

/** How the other device was proven (SAFETY §4). */
export type Trust = 'scanned' | 'code' | 'compared' | 'remembered';

export type RouteKind = 'lan' | 'internet' | 'relayed';

export interface RouteView {
  kind: RouteKind;
  /** Round-trip time in milliseconds, once measured. */
  rttMs: number | null;
}

export interface DeviceView {
  id: string;
  /** Hostile. */
  name: string;
  platform: Platform;
  /** How it came onto the list: a server's listing, this page's own link or code, or an earlier visit. */
  source: 'this_agent' | 'mdns' | 'visible' | 'linked' | 'link' | 'code' | 'remembered';
  /**
   * `listed` may be met; `meeting` is in the handshake; `connecting` is met, its link opens; `connected`;
   * `away` lost its link and is tried again; `gone` said good-bye or stayed away; `offline` is remembered and not here now.
   */
  presence: 'listed' | 'meeting' | 'connecting' | 'connected' | 'away' | 'gone' | 'offline';
  trust: Trust | null;
  route: RouteView | null;
  /** The step of the handshake that needs a person, or why it ended. */
  meeting: MeetingView | null;
  /** Since when it is away (milliseconds since 1970). */
  awaySinceMs: number | null;
  /** Files or text wait here for the meeting to end. */
  queued: number;
  remember: RememberView;
  /** What happens to its offers; `null` unless it is remembered. */
  policy: Policy | null;
  /** When it was last connected (milliseconds since 1970); `null` unless it is remembered. */
  lastSeenMs: number | null;
  /** Remembered, and another tab of this browser answers for it. */
  inOtherTab: boolean;
  /** Its server served this page, so that the browser can download from it in the clear. */
  servesPage: boolean;
}

export type { Policy };

/** Whether the two devices remember each other, which both people have to want. */
export type RememberView =
  /** This page cannot keep secrets: it came by plain http, or the browser has no storage. */
  | 'not_here'
  /** The other device cannot, or is not connected. */
  | 'not_there'
  | 'no'
  /** Wanted here; the other person has not said so. */
  | 'wanted'
  /** Wanted there. */
  | 'asked'
  | 'yes';

export interface Picture {
  /** The emoji to draw. */
  symbol: string;
  /** Its spoken name, in English as on every device. */
  name: string;
}

/** Four pictures. */
export type PictureRow = Picture[];

export type MeetingView =
  | { step: 'waiting'; byUs: boolean }
  /** The other screen shows one of these three rows: `pickRow`. */
  | { step: 'pick_row'; rows: PictureRow[] }
  /** This screen shows the row; the other person picks. `confirmPictures` once they said they did. */
  | { step: 'confirm'; row: PictureRow }
  /** Our part is done; the other person has not answered yet. */
  | { step: 'waiting_for_person'; row: PictureRow | null }
  | { step: 'failed'; failure: MeetingFailure };

export type { MeetingFailure };

export interface OfferView {
  id: string;
  deviceId: string;
  /** Hostile. */
  deviceName: string;
  platform: Platform;
  trust: Trust;
  /** The first entries; `entryCount` says how many there are. */
  entries: OfferEntry[];
  entryCount: number;
  fileCount: number;
  totalBytes: number;
  space: SpaceView;
  /** The policy of a remembered device accepts it as soon as the space is known to do: nobody needs to be asked. */
  byPolicy: boolean;
  /** Of what is too large for this page: whether the browser may download it, which the person has to ask for. */
  download: 'not_asked' | 'asked' | 'unanswered';
  /** Declined by itself then (milliseconds since 1970). */
  expiresAtMs: number;
}

export interface OfferEntry {
  /** Hostile; `/` between parts. */
  path: string;
  kind: 'file' | 'folder';
  sizeBytes: number;
}

export type SpaceView =
  | { state: 'checking' }
  | { state: 'fits'; freeBytes: number | null }
  /** One file that takes more than half of what is free: the person chooses a place for it by accepting. */
  | { state: 'pick'; freeBytes: number }
  /** Accept stays disabled. `memory`: open the secure page or send fewer; `disk`: free some space. */
  | { state: 'too_large'; limitBytes: number; where: 'memory' | 'disk' };

export interface TransferView {
  id: string;
  deviceId: string;
  /** Hostile when received. */
  deviceName: string;
  direction: 'send' | 'receive';
  /** Name of the first entry; hostile when received. `fileCount` says how many more. */
  title: string;
  fileCount: number;
  doneFiles: number;
  /** The first `MAX_LISTED_FILES` files. */
  files: TransferFileView[];
  state: TransferState;
  totalBytes: number;
  /** Sent: verified by the other side. Received: written here. */
  doneBytes: number;
  /** Averaged over 2 s; `null` when nothing moves. */
  bytesPerSecond: number | null;
  /** From 5 s on. */
  etaSeconds: number | null;
  route: RouteView | null;
  startedAtMs: number;
  endedAtMs: number | null;
  /** Received files are still here to be saved. */
  canSave: boolean;
  /** Some of what was sent did not arrive and can be offered once more. */
  canRetry: boolean;
  /** Where received files are kept. */
  storage: 'disk' | 'memory';
  /** Where a browser finds a list of all its files; `null` unless it is `by_browser`. */
  listHref: string | null;
}

export type TransferState =
  /** Offered; the other person has not answered. */
  | { kind: 'waiting' }
  | { kind: 'moving' }
  | { kind: 'paused'; by: 'us' | 'them'; reason: 'person' | 'space' }
  /** The link is lost; `doneBytes` are kept and it goes on by itself. */
  | { kind: 'interrupted'; sinceMs: number }
  /**
   * Broken off in an earlier session; what arrived is kept. `device`: goes on by itself once the device is met again.
   * `permission`: the browser must be allowed to read the files again. `files`: they must be picked again.
   */
  | { kind: 'kept'; needs: 'device' | 'permission' | 'files' }
  /** The browser downloads it in the clear, outside of this page; nobody checks it. */
  | { kind: 'by_browser' }
  /** Every file's hash was compared. */
  | { kind: 'done' }
  /** Ended, but some files failed; `files` says which. */
  | { kind: 'partly_done'; failedFiles: number }
  | { kind: 'declined'; reason: 'person' | 'no_answer' | 'space' | 'unsupported' }
  | { kind: 'cancelled'; by: 'us' | 'them' }
  | { kind: 'failed'; failure: TransferFailure };

export type TransferFailure = 'no_space' | 'hash_mismatch' | 'changed' | 'unreadable' | 'not_written' | 'device_gone' | 'protocol';

export interface TransferFileView {
  id: number;
  /** Hostile when received; `/` between parts. */
  path: string;
  sizeBytes: number;
  doneBytes: number;
  state: 'waiting' | 'moving' | 'done' | 'failed';
  failure: TransferFailure | null;
  /** Where a browser downloads it; `null` unless the transfer is `by_browser`. */
  href: string | null;
}

/** Rows of one batch kept in the model; a larger batch shows its count. */
export const MAX_LISTED_FILES = 500;

export interface TextView {
  id: string;
  deviceId: string;
  /** Hostile when received. */
  deviceName: string;
  direction: 'send' | 'receive';
  /** Hostile when received. */
  text: string;
  atMs: number;
  state: 'waiting' | 'delivered' | 'failed';
}

export interface ToastView {
  id: string;
  notice: Notice;
}

/** Something that happened and needs no answer. Names are hostile. */
export type Notice =
  | { kind: 'device_connected'; name: string }
  /** The browser downloads one file, or each of several when it is tapped. */
  | { kind: 'by_browser'; title: string; fileCount: number }
  | { kind: 'joiner_refused' }
  | { kind: 'device_away'; name: string }
  | { kind: 'text_received'; name: string; textId: string }
  | { kind: 'offer_declined'; name: string }
  | { kind: 'transfer_done'; transferId: string; title: string; fileCount: number; direction: 'send' | 'receive' }
  | { kind: 'transfer_cancelled'; transferId: string; title: string; by: 'us' | 'them' }
  | { kind: 'transfer_failed'; transferId: string; title: string; failure: TransferFailure }
  /** Somebody typed a wrong code: it is used up, and a new one is shown. */
  | { kind: 'code_burnt' }
  /** Both wanted it. */
  | { kind: 'device_remembered'; name: string }
  | { kind: 'meeting_failed'; name: string | null; failure: MeetingFailure }
  /** A link was typed that this server has nothing to do with. */
  | { kind: 'other_server'; host: string }
  /** Not the file that was being sent. */
  | { kind: 'other_file'; title: string; why: 'missing' | 'size' | 'time' | 'content' }
  | { kind: 'text_too_long'; limitBytes: number }
  | { kind: 'nothing_to_send' }
  | { kind: 'busy' };

/** One thing to send: a file with its path inside the batch, or an empty folder. */
export type SendItem =
  | { kind: 'file'; path: string; file: File; handle?: FileSystemFileHandle }
  | { kind: 'folder'; path: string };

/** Everything a person can ask for. No action throws; what goes wrong appears in the model. */
export interface Actions {
  rename(name: string): void;
  /** Lists this device to strangers at this server for `seconds` (at most 600); 0 stops. */
  setVisible(seconds: number): void;

  /** The tap that a link needs before anything happens. */
  openInvitation(): void;
  dismissInvitation(): void;
  /** A typed or pasted code (`4821-piano-tiger`) or link. */
  enterCode(text: string): void;
  /** Makes this page's own link and code, or a new one. */
  makeInvite(): void;
  dropInvite(): void;
  /** The link and code on show are good for another ten minutes. */
  extendInvite(): void;

  /** Starts the meeting with a listed device, or tries a lost one again. */
  connect(deviceId: string): void;
  /** `row` is an index into `rows`; `null` means that none of them is right. */
  pickRow(deviceId: string, row: number | null): void;
  confirmPictures(deviceId: string, same: boolean): void;
  /** Ends the meeting or the connection. */
  disconnect(deviceId: string): void;

  /** This person wants the device remembered, or takes that back. */
  remember(deviceId: string, wanted: boolean): void;
  setPolicy(deviceId: string, policy: Policy): void;
  /** Drops the key and the secret on both sides. */
  forget(deviceId: string): void;
  /** Of a device with a known name and another key: forgets the known one, so that this one can be met anew. */
  forgetKnownName(deviceId: string): void;

  /** Sends now, or after the meeting if the device is only listed. */
  sendFiles(deviceId: string, items: SendItem[]): void;
  sendText(deviceId: string, text: string): void;

  acceptOffer(offerId: string): void;
  declineOffer(offerId: string): void;
  /** Lets the browser download an offer that is too large for this page, in the clear. */
  downloadOffer(offerId: string): void;
  /** Another 60 s to answer. */
  extendOffer(offerId: string): void;

  pause(transferId: string): void;
  resume(transferId: string): void;
  /** Goes on with what was broken off: looks for the device, and asks to read the files again. */
  carryOn(transferId: string): void;
  /** The files of a transfer that needs them, chosen once more. */
  pickAgain(transferId: string, items: SendItem[]): void;
  /** Offers what did not arrive once more. */
  sendFailedAgain(transferId: string): void;
  /** Gives up one file of a batch; the others go on. */
  cancelFile(transferId: string, fileId: number): void;
  /** Stops both sides. Of a finished transfer: takes it off the list and removes its copy. */
  cancel(transferId: string): void;
  /** Hands one received file to the browser's downloads. */
  saveFile(transferId: string, fileId: number): void;
  /** All received files of a batch: the file itself, or one zip. */
  saveAll(transferId: string): void;
  /** Removes the received copy from this page, and the row. */
  removeCopy(transferId: string): void;

  dismissText(textId: string): void;
  dismissToast(toastId: string): void;
}
