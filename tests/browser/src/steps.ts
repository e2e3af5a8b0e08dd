// What happens between opening a link and an open, bound channel, as a page's own objects tell of it.

import type { Page } from "@playwright/test";

/** In the order in which they come. */
export const STEPS = [
  "script runs",
  "socket open",
  "button shown",
  "mailbox joined",
  "handshake done",
  "offer and answer",
  "ice connected",
  "dtls connected",
  "channel open",
  "bound",
] as const;

export type StepName = (typeof STEPS)[number];

/** When each step came, in milliseconds since 1970. */
export type Times = Readonly<Partial<Record<StepName, number>>>;

/**
 * Writes down when what happens in `page` from its next document on. Only what any page could see is watched: the messages of its
 * WebSocket, the states of its RTCPeerConnection, and what it draws. The one tap that opening a link needs is given the moment there
 * is something to tap.
 */
export async function watchSteps(page: Page): Promise<void> {
  await page.addInitScript(watch);
}

export async function times(page: Page): Promise<Times> {
  return await page.evaluate(() => (globalThis as unknown as { steps: Times }).steps);
}

/** Runs in the page, before anything of its own. */
function watch(): void {
  const steps: Record<string, number> = {};
  (globalThis as unknown as { steps: Record<string, number> }).steps = steps;
  const note = (step: string): void => {
    steps[step] ??= performance.timeOrigin + performance.now();
  };
  /** The step of a handshake message (PA-10): its third byte, behind version and method. */
  const handshakeStep = (text: string): number | null => {
    const body = /"body":"([\w-]{4})/.exec(text)?.[1];
    if (body === undefined) return null;
    const bytes = atob(body.replaceAll("-", "+").replaceAll("_", "/"));
    return bytes.charCodeAt(0) === 1 ? bytes.charCodeAt(2) : null;
  };
  note("script runs");

  const PlainSocket = WebSocket;
  globalThis.WebSocket = class extends PlainSocket {
    constructor(url: string | URL, protocols?: string | string[]) {
      super(url, protocols);
      this.addEventListener("open", () => note("socket open"));
      this.addEventListener("message", ({ data }) => {
        if (typeof data !== "string") return;
        if (data.startsWith('{"type":"joined"')) note("mailbox joined");
        if (handshakeStep(data) === 0x13) note("handshake done");
      });
    }
    override send(data: string | Blob | BufferSource): void {
      if (typeof data === "string" && handshakeStep(data) === 0x13) note("handshake done");
      super.send(data);
    }
  };

  const PlainConnection = RTCPeerConnection;
  globalThis.RTCPeerConnection = class extends PlainConnection {
    constructor(configuration?: RTCConfiguration) {
      super(configuration);
      this.addEventListener("signalingstatechange", () => {
        if (this.signalingState === "stable") note("offer and answer");
      });
      this.addEventListener("iceconnectionstatechange", () => {
        if (this.iceConnectionState === "connected" || this.iceConnectionState === "completed") note("ice connected");
      });
      this.addEventListener("connectionstatechange", () => {
        if (this.connectionState === "connected") note("dtls connected");
      });
      this.addEventListener("datachannel", ({ channel }) => watchChannel(channel));
    }
    override createDataChannel(label: string, options?: RTCDataChannelInit): RTCDataChannel {
      const channel = super.createDataChannel(label, options);
      watchChannel(channel);
      return channel;
    }
  };
  const watchChannel = (channel: RTCDataChannel): void => {
    if (channel.label !== "control") return;
    const opened = (): void => note("channel open");
    if (channel.readyState === "open") opened();
    channel.addEventListener("open", opened);
  };

  new MutationObserver(() => {
    const button = document.querySelector<HTMLElement>("[data-testid=invitation][data-state=waiting_for_tap] button.primary");
    if (button !== null && steps["button shown"] === undefined) {
      note("button shown");
      button.click();
    }
    if (document.querySelector("[data-presence=connected]") !== null) note("bound");
  }).observe(document, { subtree: true, childList: true, attributes: true, attributeFilter: ["data-presence", "data-state"] });
}
