import {
  afterContradiction,
  isInconsistent,
  isQuiet,
  type SourceConsistency,
} from '../core/source/consistency.ts';
import type { Observation } from '../core/watch/observe.ts';
import type { ConsistencyStore, ConsistencyWrite } from './ports.ts';

interface SourceAgreementOptions {
  source: string;
  store: ConsistencyStore;
  /**
   * Writes a record with the event that the source became inconsistent, or consistent again.
   * @returns false where another process has written since
   */
  raise: (change: AgreementChange, write: ConsistencyWrite) => Promise<boolean>;
  onContradiction: () => void;
  now: () => number;
}

/** A source becomes inconsistent, or consistent again. */
export interface AgreementChange {
  type: 'source.inconsistent' | 'source.consistent';
  /** What makes it so: the record now, or until now. */
  found: SourceConsistency;
  /** Since when it is inconsistent, or was, milliseconds since the epoch. */
  since: number;
}

/**
 * Counts how far polls of one source's runs agree, in the store for all processes. Only contradictions
 * are written; reads that agreed are counted here and added by the next contradiction.
 */
export class SourceAgreement {
  private stood = 0;

  constructor(private readonly options: SourceAgreementOptions) {}

  /** Takes in what a poll of a run says. */
  async note(runId: string, agreement: Observation['agreement']): Promise<void> {
    if (agreement === 'agreed') this.stood += 1;
    if (agreement === 'contradicted') await this.contradicted(runId);
  }

  async isConsistent(): Promise<boolean> {
    return (await this.inconsistency()) === null;
  }

  /** Why the source is inconsistent; null where it is not. */
  async inconsistency(): Promise<SourceConsistency | null> {
    const { source, store, now } = this.options;
    const { found } = await store.read(source);
    return isInconsistent(found, now()) ? found : null;
  }

  /** Ends an inconsistency once no poll has contradicted another for long enough. */
  async tend(): Promise<void> {
    const { source, store, raise, now } = this.options;
    const { found, text } = await store.read(source);
    if (found === null || found.since === null || !isQuiet(found, now())) return;
    const write = { source, before: text, after: null };
    await raise({ type: 'source.consistent', found, since: found.since }, write);
  }

  private async contradicted(runId: string): Promise<void> {
    const { source, store, raise, onContradiction, now } = this.options;
    const { stood } = this;
    this.stood = 0;
    onContradiction();
    for (;;) {
      const { found, text } = await store.read(source);
      const after = afterContradiction(found, { runId, stood, now: now() });
      const write = { source, before: text, after };
      const begins = (found?.since ?? null) === null ? after.since : null;
      const isWritten =
        begins === null
          ? (await store.put(write, null)) !== null
          : await raise({ type: 'source.inconsistent', found: after, since: begins }, write);
      if (isWritten) return;
    }
  }
}
