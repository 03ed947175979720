import type { ListOutcome, ListQuestion } from '../core/feed/run-list.ts';
import type {
  DefinitionOutcome,
  WorkflowListOutcome,
  WorkflowsQuestion,
} from '../core/feed/workflow.ts';
import type { PollResult } from '../core/run/snapshot.ts';
import { answerAboutList, answerAboutRun } from '../core/source/throttle.ts';
import type { NoxusClient } from '../noxus/client.ts';
import type { Source } from './source.ts';

/** The least time between two list requests that only test whether the source answers, ms. */
const ASK_EVERY_MS = 5_000;

/**
 * Reads runs and lists of a source, and reports every answer to its throttle. Names of workflows are an
 * extra: of these answers, only one that asks for a pause says anything about the source.
 */
export class SourceReader {
  /** Before this the list is not asked for again. */
  private notBefore = 0;

  constructor(
    private readonly source: Source,
    private readonly client: NoxusClient,
  ) {}

  async readRun(runId: string, options?: { onSent?: () => void }): Promise<PollResult> {
    const { throttle } = this.source;
    const asked = throttle.asks();
    const outcome = await this.client.readRun(runId, options);
    await throttle.note(answerAboutRun(outcome, runId), asked);
    return outcome;
  }

  async readPage(question: ListQuestion): Promise<ListOutcome> {
    const { throttle } = this.source;
    const asked = throttle.asks();
    const outcome = await this.client.readPage(question);
    await throttle.note(answerAboutList(outcome), asked);
    return outcome;
  }

  async readWorkflows(question: WorkflowsQuestion): Promise<WorkflowListOutcome> {
    const { throttle } = this.source;
    const asked = throttle.asks();
    const outcome = await this.client.readWorkflows(question);
    if (outcome.kind === 'rate_limited') await throttle.note(outcome, asked);
    return outcome;
  }

  async readDefinition(workflowId: string): Promise<DefinitionOutcome> {
    const { throttle } = this.source;
    const asked = throttle.asks();
    const outcome = await this.client.readDefinition(workflowId);
    if (outcome.kind === 'rate_limited') await throttle.note(outcome, asked);
    return outcome;
  }

  /** Requests the list, to test whether the source answers: within the rate limit, at most every 5 s. */
  askList(): void {
    const { process, limiter } = this.source;
    if (process.now() < this.notBefore) return;
    this.notBefore = process.now() + ASK_EVERY_MS;
    this.ask().catch(limiter.onError);
  }

  /** Requests the list with the caller's permit. */
  async probeList(): Promise<void> {
    await this.readPage({ workflowId: null, page: 1, size: 1 });
  }

  private async ask(): Promise<void> {
    const permit = await this.source.limiter.claim();
    if (permit === null) return;
    await this.probeList();
    permit.settle();
  }
}
