/** Progress of bulk work: one line that is redrawn on a terminal, plain lines elsewhere. */
import type { TransferOptions } from '../storage/image/state-stream.ts';
import { bytesText, durationText } from './output.ts';

/** Redrawing faster than this only flickers. */
const terminalIntervalMs = 200;

/** A log file wants few lines. */
const plainIntervalMs = 5_000;

export interface ProgressState {
  readonly label: string;
  readonly bytesDone: number;
  /** 0 when unknown. */
  readonly bytesTotal: number;
}

export class ProgressLine {
  readonly #stream: NodeJS.WriteStream;
  readonly #startedMs = performance.now();
  #shownMs = performance.now();
  #drawn = false;

  constructor(stream: NodeJS.WriteStream = process.stderr) {
    this.#stream = stream;
  }

  update(state: ProgressState): void {
    const now = performance.now();
    const interval = this.#stream.isTTY ? terminalIntervalMs : plainIntervalMs;
    if (now - this.#shownMs < interval) return;
    this.#shownMs = now;
    const line = progressText(state, now - this.#startedMs);
    if (!this.#stream.isTTY) this.#stream.write(`${line}\n`);
    else {
      this.#stream.write(`\r\u001b[K${line}`);
      this.#drawn = true;
    }
  }

  end(): void {
    if (this.#drawn) this.#stream.write('\r\u001b[K');
    this.#drawn = false;
  }
}

export function progressText(state: ProgressState, elapsedMs: number): string {
  const { label, bytesDone, bytesTotal } = state;
  const rate = (bytesDone * 1000) / Math.max(1, elapsedMs);
  const rateText = `${bytesText(rate)}/s`;
  if (bytesTotal === 0) return `${label}: ${bytesText(bytesDone)}, ${rateText}`;
  const percent = Math.min(100, Math.floor((bytesDone * 100) / bytesTotal));
  const left = rate > 0 ? durationText((Math.max(0, bytesTotal - bytesDone) * 1000) / rate) : '?';
  return `${label}: ${percent} % of ${bytesText(bytesTotal)}, ${rateText}, ${left} left`;
}

/** Runs `work`, and shows how far it is. */
export async function withProgress<T>(
  label: string,
  work: (options: TransferOptions) => Promise<T>,
): Promise<T> {
  const line = new ProgressLine();
  try {
    return await work({
      onProgress: ({ bytesDone, entriesDone, entriesTotal }) => {
        const bytesTotal = entriesDone > 0 ? (bytesDone * entriesTotal) / entriesDone : 0;
        line.update({ label, bytesDone, bytesTotal });
      },
    });
  } finally {
    line.end();
  }
}
