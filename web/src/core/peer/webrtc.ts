/** A link over one RTCPeerConnection with two ordered, reliable channels. A new attempt is a new object. */
import { sha256 } from '@noble/hashes/sha2.js';
import type { IceServer } from '../protocol/generated/IceServer';
import type { Signal } from '../protocol/generated/Signal';
import { fingerprintOfDescription, parseFingerprint } from './fingerprint';
import {
  HIGH_WATER_BYTES,
  MAX_MESSAGE_BYTES,
  type Link,
  type LinkCertificates,
  type LinkEnd,
  type LinkEvents,
  type LinkRole,
  type Route,
} from './link';
import { classifyRoute, SignaledCandidates } from './route';
import { selectedPair } from './selected_pair';

const CONTROL = 'control';
const DATA = 'data';
/** Candidates kept until their description comes. */
const EARLY_CANDIDATES = 256;
/** Control messages kept until the other channel is open too; a peer that sends more before that is not one of ours. */
const EARLY_MESSAGES = 16;
const P256: EcKeyGenParams = { name: 'ECDSA', namedCurve: 'P-256' };

export interface WebRtcOptions {
  role: LinkRole;
  iceServers: readonly IceServer[];
  events: LinkEvents;
}

export class WebRtcLink implements Link {
  readonly #role: LinkRole;
  readonly #events: LinkEvents;
  readonly #iceServers: RTCIceServer[];
  readonly #signaled = new SignaledCandidates();
  readonly #early: RTCIceCandidateInit[] = [];
  readonly #earlyControl: (string | Uint8Array)[] = [];
  #connection: RTCPeerConnection | null = null;
  #certificate: RTCCertificate | null = null;
  #control: RTCDataChannel | null = null;
  #data: RTCDataChannel | null = null;
  #open = false;
  #over = false;
  #sentBytes = 0;
  /** Descriptions and candidates are applied one after the other. */
  #work: Promise<void>;

  constructor({ role, iceServers, events }: WebRtcOptions) {
    this.#role = role;
    this.#events = events;
    this.#iceServers = iceServers.map((server) => ({ ...server }));
    // Missing, or forbidden by a policy or an extension.
    this.#work = this.#begin().catch(() => {
      this.#end('impossible');
    });
  }

  get maxMessageBytes(): number {
    if (!this.#open) return 0;
    return Math.min(this.#connection?.sctp?.maxMessageSize ?? 65_536, MAX_MESSAGE_BYTES);
  }

  get writable(): boolean {
    return this.#open && this.#data !== null && this.#data.bufferedAmount < HIGH_WATER_BYTES;
  }

  get movedBytes(): number {
    return this.#sentBytes - (this.#data?.bufferedAmount ?? 0);
  }

  handleSignal(signal: Signal): void {
    this.#then(async (connection) => {
      switch (signal.kind) {
        case 'offer':
          if (this.#role === 'answerer') await this.#answer(connection, signal.sdp);
          break;
        case 'answer':
          // A late answer, to an offer that a restart replaced, has nothing to answer.
          if (this.#role === 'offerer' && connection.signalingState === 'have-local-offer') {
            this.#signaled.add(signal.sdp);
            await connection.setRemoteDescription({ type: 'answer', sdp: signal.sdp });
            await this.#addEarly(connection);
          }
          break;
        case 'candidate':
          await this.#addCandidate(connection, signal);
          break;
        case 'end_of_candidates':
          this.#signaled.end();
          break;
        case 'lane':
          // An attempt of another kind.
          break;
      }
    });
  }

  restart(): void {
    if (this.#role !== 'offerer') return;
    this.#then(async (connection) => {
      connection.restartIce();
      await this.#offer(connection);
    });
  }

  certificates(): LinkCertificates | null {
    const connection = this.#connection;
    if (connection === null || !this.#open) return null;
    const own = this.#ownFingerprint(connection);
    const received = receivedFingerprint(connection);
    return own === null || received === null ? null : { own, received };
  }

  sendControl(message: string | Uint8Array): void {
    if (this.#control?.readyState !== 'open') return;
    if (typeof message === 'string') this.#control.send(message);
    else this.#control.send(new Uint8Array(message));
  }

  sendData(frame: Uint8Array<ArrayBuffer>): void {
    if (this.#data?.readyState !== 'open') return;
    this.#sentBytes += frame.length;
    this.#data.send(frame);
  }

  async route(): Promise<Route | null> {
    const connection = this.#connection;
    if (connection === null || !this.#open) return null;
    const pair = selectedPair(await connection.getStats());
    if (pair === null) return null;
    const kind = classifyRoute(pair.local, pair.remote, this.#signaled);
    if (kind === null) return null;
    return {
      kind,
      rttMs: pair.rttSeconds === null ? null : Math.round(pair.rttSeconds * 1000),
    };
  }

  close(): void {
    this.#over = true;
    this.#connection?.close();
  }

  async #begin(): Promise<void> {
    // The certificate is made first, so that its fingerprint is known from the certificate and not from a description.
    this.#certificate = await RTCPeerConnection.generateCertificate(P256);
    if (this.#over) return;
    const connection = new RTCPeerConnection({ iceServers: this.#iceServers, certificates: [this.#certificate] });
    this.#connection = connection;
    connection.onicecandidate = ({ candidate: found }) => {
      if (this.#over) return;
      if (found === null || found.candidate === '') {
        this.#events.onSignal({ kind: 'end_of_candidates' });
        return;
      }
      const signal: Signal = { kind: 'candidate', candidate: found.candidate };
      if (found.sdpMid !== null) signal.sdp_mid = found.sdpMid;
      if (found.sdpMLineIndex !== null) signal.sdp_m_line_index = found.sdpMLineIndex;
      this.#events.onSignal(signal);
    };
    connection.onconnectionstatechange = () => {
      if (this.#over) return;
      switch (connection.connectionState) {
        case 'connected':
        case 'disconnected':
        case 'failed':
        case 'connecting':
          this.#events.onState(connection.connectionState);
          break;
        case 'new':
          break;
        case 'closed':
          this.#end();
          break;
      }
    };
    if (this.#role === 'offerer') {
      this.#attach(connection.createDataChannel(CONTROL));
      this.#attach(connection.createDataChannel(DATA));
      await this.#offer(connection);
    } else {
      connection.ondatachannel = ({ channel }) => {
        this.#attach(channel);
      };
    }
  }

  #then(step: (connection: RTCPeerConnection) => Promise<void>): void {
    this.#work = this.#work.then(async () => {
      if (this.#over || this.#connection === null) return;
      try {
        await step(this.#connection);
      } catch {
        // The other side's description or candidate was not usable; a new attempt may be.
      }
    });
  }

  async #offer(connection: RTCPeerConnection): Promise<void> {
    await connection.setLocalDescription(await connection.createOffer());
    this.#tellDescription(connection);
  }

  async #answer(connection: RTCPeerConnection, sdp: string): Promise<void> {
    this.#signaled.add(sdp);
    await connection.setRemoteDescription({ type: 'offer', sdp });
    await connection.setLocalDescription(await connection.createAnswer());
    this.#tellDescription(connection);
    await this.#addEarly(connection);
  }

  #tellDescription(connection: RTCPeerConnection): void {
    const description = connection.localDescription;
    if (this.#over || description === null) return;
    if (description.type === 'offer' || description.type === 'answer') {
      this.#events.onSignal({ kind: description.type, sdp: description.sdp });
    }
  }

  async #addCandidate(connection: RTCPeerConnection, signal: Extract<Signal, { kind: 'candidate' }>): Promise<void> {
    this.#signaled.add(signal.candidate);
    const init: RTCIceCandidateInit = { candidate: signal.candidate };
    if (signal.sdp_mid !== undefined) init.sdpMid = signal.sdp_mid;
    if (signal.sdp_m_line_index !== undefined) init.sdpMLineIndex = signal.sdp_m_line_index;
    // There is one media section, and a candidate without a place must be of it.
    if (signal.sdp_mid === undefined && signal.sdp_m_line_index === undefined) init.sdpMLineIndex = 0;
    if (connection.remoteDescription === null) {
      if (this.#early.length < EARLY_CANDIDATES) this.#early.push(init);
      return;
    }
    await connection.addIceCandidate(init);
  }

  async #addEarly(connection: RTCPeerConnection): Promise<void> {
    for (const init of this.#early.splice(0)) {
      await connection.addIceCandidate(init).catch(() => undefined);
    }
  }

  /** In the same task as the channel came, or its first messages would be lost. */
  #attach(channel: RTCDataChannel): void {
    if (channel.label === CONTROL && this.#control === null) this.#control = channel;
    else if (channel.label === DATA && this.#data === null) this.#data = channel;
    else {
      channel.close();
      return;
    }
    const isData = channel.label === DATA;
    channel.binaryType = 'arraybuffer';
    channel.bufferedAmountLowThreshold = HIGH_WATER_BYTES / 2;
    channel.onopen = () => {
      this.#opened();
    };
    channel.onclose = () => {
      this.#end();
    };
    channel.onmessage = ({ data }: MessageEvent<unknown>) => {
      if (this.#over) return;
      const message = data instanceof ArrayBuffer ? new Uint8Array(data) : data;
      if (isData && message instanceof Uint8Array) this.#events.onData(message);
      else if (!isData && (typeof message === 'string' || message instanceof Uint8Array)) this.#handleControl(message);
      else this.#end();
    };
    if (isData) {
      channel.onbufferedamountlow = () => {
        if (!this.#over) this.#events.onWritable();
      };
    }
    this.#opened();
  }

  #handleControl(message: string | Uint8Array): void {
    this.#opened();
    if (this.#open) {
      this.#events.onControl(message);
      return;
    }
    this.#earlyControl.push(message);
    if (this.#earlyControl.length > EARLY_MESSAGES) this.#end();
  }

  /** One channel may open, and carry messages, a moment before the other is announced. */
  #opened(): void {
    if (this.#open || this.#over) return;
    if (this.#control?.readyState !== 'open' || this.#data?.readyState !== 'open') return;
    this.#open = true;
    this.#events.onOpen();
    for (const message of this.#earlyControl.splice(0)) {
      if (!this.#over) this.#events.onControl(message);
    }
  }

  #end(why: LinkEnd = 'ended'): void {
    if (this.#over) return;
    this.close();
    this.#events.onClosed(why);
  }

  #ownFingerprint(connection: RTCPeerConnection): Uint8Array | null {
    // Firefox has no `getFingerprints`; the certificate it uses is the one its own description names.
    const prints = this.#certificate !== null && 'getFingerprints' in this.#certificate ? this.#certificate.getFingerprints() : [];
    const value = prints.find(({ algorithm }) => algorithm?.toLowerCase() === 'sha-256')?.value;
    if (value !== undefined) return parseFingerprint(value);
    return fingerprintOfDescription(connection.localDescription?.sdp ?? '');
  }
}

function receivedFingerprint(connection: RTCPeerConnection): Uint8Array | null {
  const dtls = connection.sctp?.transport;
  if (dtls !== undefined && 'getRemoteCertificates' in dtls) {
    const [certificate] = dtls.getRemoteCertificates();
    return certificate === undefined ? null : sha256(new Uint8Array(certificate));
  }
  // Firefox does not show the certificate. It has checked it against this description, which came sealed.
  return fingerprintOfDescription(connection.remoteDescription?.sdp ?? '');
}
