import type { ListOutcome, ListQuestion } from '../core/feed/run-list.ts';
import type { StreamEnd, StreamListener } from '../core/feed/run-stream.ts';
import type {
  DefinitionOutcome,
  WorkflowListOutcome,
  WorkflowsQuestion,
} from '../core/feed/workflow.ts';
import type { PollResult } from '../core/run/snapshot.ts';
import type { ReadOptions, SourcePort } from '../core/source/port.ts';
import { answerAboutStop, type StopOutcome } from '../core/source/stop.ts';
import {
  answerAboutExtra,
  answerAboutProbe,
  answerAboutRun,
  type SourceAnswer,
} from '../core/source/throttle.ts';
import { isAborted } from '../deadline.ts';
import type { Source } from './source.ts';

/** The least time between two probes that nothing has claimed, ms. */
const ASK_EVERY_MS = 5_000;

/**
 * Sends the requests to a source, and reports to its throttle what each answer shows of the source. What its
 * traits do not offer must not be asked for.
 */
export class SourceReader {
  /** Before this, by the monotonic clock, the source is not probed again: that of the store may go back. */
  private notBefore = -Infinity;

  constructor(
    private readonly source: Source,
    private readonly port: SourcePort,
  ) {}

  readRun(runId: string, options?: ReadOptions): Promise<PollResult> {
    return this.ask(
      () => this.port.readRun(runId, options),
      (outcome) => answerAboutRun(outcome, runId),
    );
  }

  readPage(question: ListQuestion): Promise<ListOutcome> {
    const readPage = offered(this.port.readPage, 'lists');
    return this.ask(() => readPage(question), answerAboutProbe);
  }

  readWorkflows(question: WorkflowsQuestion): Promise<WorkflowListOutcome> {
    const names = offered(this.port.names, 'names');
    return this.ask(() => names.readWorkflows(question), answerAboutExtra);
  }

  readDefinition(workflowId: string): Promise<DefinitionOutcome> {
    const names = offered(this.port.names, 'names');
    return this.ask(() => names.readDefinition(workflowId), answerAboutExtra);
  }

  /** Has a run stopped: once, whatever becomes of the request. */
  stopRun(runId: string, options: ReadOptions): Promise<StopOutcome> {
    const stop = offered(this.port.stop, 'stop');
    return this.ask(() => stop(runId, options), answerAboutStop);
  }

  /** What its end shows of the source depends on the streams beside it: the caller judges it. */
  follow(runId: string, listener: StreamListener): Promise<StreamEnd> {
    return offered(this.port.streams, 'streams').follow(runId, listener);
  }

  /** Whether there is a request that shows, without a run, whether the source answers. */
  get canProbe(): boolean {
    return this.port.probe !== null;
  }

  /** Probes the source, where it can be: within the rate limit, at most every 5 s, and a closed one when it may be. */
  probeSoon(): void {
    const { process, limiter } = this.source;
    if (!this.canProbe || process.monotonic() < this.notBefore) return;
    this.notBefore = process.monotonic() + ASK_EVERY_MS;
    this.probeOnce().catch((error: unknown) => {
      if (!isAborted(error)) limiter.onError(error);
    });
  }

  /** Probes the source with the caller's permit. */
  async probe(): Promise<void> {
    await this.ask(offered(this.port.probe, 'a probe'), answerAboutProbe);
  }

  private async probeOnce(): Promise<void> {
    const { limiter, throttle, deadlineMs } = this.source;
    const permit = await limiter.claim(deadlineMs);
    if (permit === null) return;
    // Another process may have closed the source since it was read.
    throttle.saw(true);
    try {
      await this.probe();
    } finally {
      permit.endProbe?.();
    }
    permit.settle();
  }

  /** @param shows what the outcome shows of the source as a whole; null for nothing */
  private async ask<Outcome>(
    send: () => Promise<Outcome>,
    shows: (outcome: Outcome) => SourceAnswer | null,
  ): Promise<Outcome> {
    const { throttle } = this.source;
    const asked = throttle.asks();
    const outcome = await send();
    const answer = shows(outcome);
    // An answer to headers that were renewed meanwhile says nothing.
    if (answer?.kind === 'unauthorized') this.source.refreshHeaders();
    if (answer !== null) await throttle.note(answer, asked);
    return outcome;
  }
}

/** @throws Error where a request is not offered: its caller has to go by the traits */
function offered<Ability>(ability: Ability | null, what: string): Ability {
  if (ability === null) throw new Error(`the source does not offer ${what}`);
  return ability;
}
