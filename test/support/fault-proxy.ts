import net from 'node:net';
import { ReplyFilter } from './reply-filter.js';

/** One connection through the proxy. */
interface Link {
  readonly client: net.Socket;
  readonly server: net.Socket;
}

/** Bytes on their way, and when they arrive. */
interface Late {
  readonly chunk: Buffer;
  readonly at: number;
}

/** What the proxy does to what passes. */
interface Faults {
  delayMs: number;
  isFrozen: boolean;
  isRefusing: boolean;
  isDroppingNotifications: boolean;
  /** Bytes that may still come from the server before the line is cut. */
  serverBytesLeft: number;
  /** Once the client has sent this text, the server's answer is lost and the line is cut. */
  loseReplyTo: string | undefined;
}

const NO_FAULTS: Readonly<Faults> = {
  delayMs: 0,
  isFrozen: false,
  isRefusing: false,
  isDroppingNotifications: false,
  serverBytesLeft: Number.POSITIVE_INFINITY,
  loseReplyTo: undefined,
};

/** A TCP proxy in front of PostgreSQL that makes the network fail in chosen ways. */
export class FaultProxy {
  readonly #server: net.Server;
  #target: URL;
  readonly #links = new Set<Link>();
  readonly #late = new Map<net.Socket, Late[]>();
  readonly #faults: Faults = { ...NO_FAULTS };
  /** Lines cut by {@link loseReplyTo} so far: shows that the fault really hit. */
  repliesLost = 0;
  /** What clients have sent so far, in pieces: at least one a round trip. */
  requests = 0;
  /** Connections that were tried so far, whatever became of them. */
  attempts = 0;
  /** Statements that the server refused so far, on connections that stayed. */
  errors = 0;

  private constructor(target: URL) {
    this.#target = target;
    this.#server = net.createServer((client) => this.#accept(client));
  }

  /** Starts a proxy in front of the server of this URL. */
  static async start(targetUrl: string): Promise<FaultProxy> {
    const proxy = new FaultProxy(new URL(targetUrl));
    await new Promise<void>((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve));
    return proxy;
  }

  /** The target's URL, through the proxy. */
  get url(): string {
    const url = new URL(this.#target.href);
    url.hostname = '127.0.0.1';
    url.port = String((this.#server.address() as net.AddressInfo).port);
    return url.href;
  }

  /** New connections go to another server from now on; those that are open are cut. */
  redirect(targetUrl: string): void {
    const { port } = new URL(targetUrl);
    this.#target = new URL(this.#target.href);
    this.#target.port = port;
    this.cut();
  }

  /** Connections that are open now. */
  get connections(): number {
    return this.#links.size;
  }

  /** Everything takes this much longer, in each direction. */
  delay(ms: number): void {
    this.#faults.delayMs = ms;
  }

  /** Half-open: lines stay up but nothing passes any more, in either direction. */
  freeze(): void {
    this.#faults.isFrozen = true;
  }

  /** What comes from now on passes again; what was swallowed is lost, so old lines are cut. */
  thaw(): void {
    this.#faults.isFrozen = false;
    this.cut();
  }

  /** Cuts every line, as a reset. */
  cut(): void {
    for (const link of this.#links) destroy(link);
  }

  /** New connections are hung up on; `false` lets them in again. */
  refuse(isRefusing = true): void {
    this.#faults.isRefusing = isRefusing;
  }

  /** Cuts the line once the server has sent this many more bytes, over all lines. */
  cutAfter(serverBytes: number): void {
    this.#faults.serverBytesLeft = serverBytes;
  }

  /** The next request that contains the text is delivered, but its answer is lost with the line. */
  loseReplyTo(text: string): void {
    this.#faults.loseReplyTo = text;
  }

  /** NOTIFY does not arrive any more, everything else does; lines that are open stay up. */
  dropNotifications(isDropping = true): void {
    this.#faults.isDroppingNotifications = isDropping;
  }

  /** Does no harm any more; lines that are open are cut. */
  heal(targetUrl: string): void {
    Object.assign(this.#faults, NO_FAULTS);
    this.redirect(targetUrl);
  }

  async stop(): Promise<void> {
    this.cut();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  #accept(client: net.Socket): void {
    this.attempts += 1;
    if (this.#faults.isRefusing) {
      client.destroy();
      return;
    }
    const server = net.connect(Number(this.#target.port || 5432), this.#target.hostname);
    const link: Link = { client, server };
    this.#links.add(link);
    for (const socket of [client, server]) {
      socket.setNoDelay(true);
      socket.on('error', () => destroy(link));
      socket.on('close', () => {
        destroy(link);
        this.#links.delete(link);
      });
    }
    this.#forward(link);
  }

  #forward(link: Link): void {
    const filter = new ReplyFilter({
      isDropping: () => this.#faults.isDroppingNotifications,
      onError: () => {
        this.errors += 1;
      },
    });
    let isReplyLost = false;
    link.client.on('data', (chunk) => {
      this.requests += 1;
      const { isFrozen, loseReplyTo } = this.#faults;
      if (isFrozen) return;
      if (loseReplyTo !== undefined && chunk.includes(loseReplyTo)) {
        this.#faults.loseReplyTo = undefined;
        isReplyLost = true;
      }
      this.#send(link.server, chunk);
    });
    link.server.on('data', (chunk) => {
      if (this.#faults.isFrozen) return;
      this.#faults.serverBytesLeft -= chunk.length;
      if (isReplyLost) this.repliesLost += 1;
      if (isReplyLost || this.#faults.serverBytesLeft < 0) {
        this.#faults.serverBytesLeft = Number.POSITIVE_INFINITY;
        destroy(link);
        return;
      }
      this.#send(link.client, filter.pass(chunk));
    });
  }

  /** Nothing overtakes what was sent before it, also when the delay has become shorter. */
  #send(socket: net.Socket, chunk: Buffer): void {
    const { delayMs } = this.#faults;
    const queue = this.#late.get(socket);
    if (queue) queue.push({ chunk, at: performance.now() + delayMs });
    else if (delayMs === 0) socket.write(chunk);
    else {
      this.#late.set(socket, [{ chunk, at: performance.now() + delayMs }]);
      setTimeout(() => this.#deliver(socket), delayMs);
    }
  }

  #deliver(socket: net.Socket): void {
    const queue = this.#late.get(socket) ?? [];
    while (queue[0] && queue[0].at <= performance.now()) {
      const { chunk } = queue.shift() as Late;
      if (socket.writable) socket.write(chunk);
    }
    if (queue[0]) setTimeout(() => this.#deliver(socket), queue[0].at - performance.now());
    else this.#late.delete(socket);
  }
}

function destroy({ client, server }: Link): void {
  client.destroy();
  server.destroy();
}
