import { RunSkimmer } from './skim.ts';

/**
 * Largest answer that is read of a run, 256 MiB: runs bring their input and definitions along. This
 * bounds the traffic; memory is bounded by what is kept.
 */
const MAX_RUN_BYTES = 268_435_456;

/** How much is kept of a run, or of the body of any other answer, 64 KiB. */
const MAX_KEPT_BYTES = 65_536;

/** Largest body of an answer other than 200 that is waited for, 1 MiB. */
const MAX_OTHER_BYTES = 1_048_576;

/** Takes in the body of the answer to a read of a run while it comes. */
export class RunBody {
  readonly #skimmer: RunSkimmer;
  readonly #other: Buffer[] = [];
  #bytes = 0;
  #keptBytes = 0;

  /** @param fields the fields of a run that are kept */
  constructor(fields: ReadonlySet<string>) {
    this.#skimmer = new RunSkimmer({ fieldDepth: 1, fields, maxKeptBytes: MAX_KEPT_BYTES });
  }

  /** @returns false when no more is wanted */
  readonly take = (piece: Buffer, status: number): boolean => {
    this.#bytes += piece.length;
    if (status !== 200) return this.#takeOther(piece);
    this.#skimmer.push(piece);
    return !this.isTooLarge;
  };

  /** How much came in, decompressed. */
  get bytes(): number {
    return this.#bytes;
  }

  /** True where a run was cut off because it, or what is to be kept of it, is too large. */
  get isTooLarge(): boolean {
    return this.#bytes > MAX_RUN_BYTES || this.#skimmer.isFull;
  }

  /** What was kept of a run. */
  run(): string {
    return this.#skimmer.text();
  }

  /** The beginning of what came with another status than 200. */
  other(): string {
    return Buffer.concat(this.#other).toString();
  }

  #takeOther(piece: Buffer): boolean {
    if (this.#keptBytes + piece.length <= MAX_KEPT_BYTES) {
      this.#other.push(piece);
      this.#keptBytes += piece.length;
    }
    return this.#bytes <= MAX_OTHER_BYTES;
  }
}
