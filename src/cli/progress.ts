import { showCount } from './terminal-text.js';

const REDRAW_MS = 100;
const BAR_CHARS = 24;

/** What a progress line shows. */
interface Progress {
  readonly text: string;
  /** 0 to 1; undefined where the end is not known. */
  readonly share: number | undefined;
}

/** A line on a terminal that is drawn again and again; nothing where there is no terminal. */
export class ProgressLine {
  readonly #look: () => Progress;
  readonly #stream: NodeJS.WriteStream;
  #timer: NodeJS.Timeout | undefined;

  constructor(look: () => Progress, stream: NodeJS.WriteStream = process.stderr) {
    this.#look = look;
    this.#stream = stream;
    if (!stream.isTTY) return;
    this.#timer = setInterval(() => this.#draw(), REDRAW_MS);
    this.#timer.unref();
  }

  /** Writes a line of its own above the progress line. */
  above(text: string): void {
    if (this.#timer) this.#stream.write('\r\u001b[K');
    this.#stream.write(`${text}\n`);
  }

  /** Takes the line away. */
  end(): void {
    if (!this.#timer) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#stream.write('\r\u001b[K');
  }

  #draw(): void {
    const { text, share } = this.#look();
    const bar = share === undefined ? '' : `${barOf(share)} ${Math.floor(share * 100)}%  `;
    this.#stream.write(`\r\u001b[K${`${bar}${text}`.slice(0, (this.#stream.columns ?? 80) - 1)}`);
  }
}

function barOf(share: number): string {
  const filled = Math.round(Math.min(1, Math.max(0, share)) * BAR_CHARS);
  return `[${'#'.repeat(filled)}${'.'.repeat(BAR_CHARS - filled)}]`;
}

/** `12,345 enqueued, 2 rejected, 45,678/s`. */
export function rateText(enqueued: number, rejected: number, seconds: number): string {
  const rate = seconds > 0.2 ? `, ${showCount(Math.round(enqueued / seconds))}/s` : '';
  const flaws = rejected > 0 ? `, ${showCount(rejected)} rejected` : '';
  return `${showCount(enqueued)} enqueued${flaws}${rate}`;
}
