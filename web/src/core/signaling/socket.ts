/** The little of a WebSocket that signaling needs. */
export interface Socket {
  send(text: string): void;
  close(): void;
}

export interface SocketEvents {
  onOpen(): void;
  onText(text: string): void;
  /** Once, however it ended; nothing comes after. */
  onClose(): void;
}

export type OpenSocket = (events: SocketEvents) => Socket;

/** The address of a server's signaling endpoint: the page's own origin, as `ws` or `wss`. */
export function signalingUrl(origin: string): string {
  const url = new URL('/v1/ws', origin);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  return url.href;
}

/** Opens real WebSockets. */
export function webSocketOpener(url: string): OpenSocket {
  return (events) => {
    const socket = new WebSocket(url);
    let closed = false;
    const close = (): void => {
      if (closed) return;
      closed = true;
      events.onClose();
    };
    socket.onopen = () => {
      if (!closed) events.onOpen();
    };
    socket.onmessage = ({ data }) => {
      if (closed) return;
      if (typeof data === 'string') {
        events.onText(data);
      } else {
        socket.close();
        close();
      }
    };
    socket.onclose = close;
    return {
      send: (text) => {
        if (socket.readyState === WebSocket.OPEN) socket.send(text);
      },
      close: () => {
        closed = true;
        socket.close();
      },
    };
  };
}
