import { isoTime } from '../core/event/event.ts';
import {
  afterContradiction,
  CONSISTENT_MESSAGE,
  inconsistentMessage,
  isInconsistent,
  isQuiet,
  type SourceConsistency,
} from '../core/source/consistency.ts';
import type { Observation } from '../core/watch/observe.ts';
import type { ConsistencyWrite } from '../redis/stores/consistency-store.ts';
import type { Source } from './source.ts';

/** A source becomes inconsistent, or consistent again. */
interface AgreementChange {
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

  constructor(private readonly source: Source) {}

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
    const { process, name } = this.source;
    const { found } = await process.stores.consistencies.read(name);
    return isInconsistent(found, process.now()) ? found : null;
  }

  /** Ends an inconsistency once no poll has contradicted another for long enough. */
  async tend(): Promise<void> {
    const { process, name: source } = this.source;
    const { found, text } = await process.stores.consistencies.read(source);
    if (found === null || found.since === null || !isQuiet(found, process.now())) return;
    const write = { source, before: text, after: null };
    await this.raise({ type: 'source.consistent', found, since: found.since }, write);
  }

  private async contradicted(runId: string): Promise<void> {
    const { process, name: source } = this.source;
    const store = process.stores.consistencies;
    const { stood } = this;
    this.stood = 0;
    process.metrics.contradicted(source);
    for (;;) {
      const { found, text } = await store.read(source);
      const after = afterContradiction(found, { runId, stood, now: process.now() });
      const write = { source, before: text, after };
      const begins = (found?.since ?? null) === null ? after.since : null;
      const isWritten =
        begins === null
          ? (await store.put(write, null)) !== null
          : await this.raise({ type: 'source.inconsistent', found: after, since: begins }, write);
      if (isWritten) return;
    }
  }

  /**
   * Writes a record with the event that the source became inconsistent, or consistent again.
   * @returns false where another process has written since
   */
  private async raise(change: AgreementChange, write: ConsistencyWrite): Promise<boolean> {
    const { process, name, schedule } = this.source;
    const watches = await schedule.countWatches();
    const event = agreementEvent(name, change, { watches, now: process.now() });
    let isWritten = false;
    await process.raise(event, async (planned) => {
      const pools = await process.stores.consistencies.put(write, planned);
      isWritten = pools !== null;
      return pools;
    });
    return isWritten;
  }
}

/** The data of both events; the remedy is outside runwatch. */
const AGREEMENT = {
  'source.inconsistent': {
    level: 'warn',
    help: 'look for a replica or cache of Noxus that lags; until polls agree again, leaving a wait is notified up to half a minute later',
  },
  'source.consistent': { level: 'info', help: 'nothing: changes are notified as usual again' },
} as const;

function agreementEvent(
  source: string,
  { type, found, since }: AgreementChange,
  { watches, now }: { watches: number; now: number },
) {
  const { level, help } = AGREEMENT[type];
  const message = type === 'source.consistent' ? CONSISTENT_MESSAGE : inconsistentMessage(found);
  return {
    type,
    level,
    data: {
      source,
      message,
      since: isoTime(since),
      lasted_ms: Math.max(0, Math.round(now - since)),
      watches,
      help,
    },
  };
}
