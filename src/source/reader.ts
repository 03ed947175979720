import type { ListOutcome, ListQuestion } from '../core/feed/run-list.ts';
import type {
  DefinitionOutcome,
  WorkflowListOutcome,
  WorkflowsQuestion,
} from '../core/feed/workflow.ts';
import type { PollResult } from '../core/run/snapshot.ts';
import type { NoxusClient } from '../noxus/client.ts';
import { definitionRequest } from '../noxus/definition.ts';
import { pageRequest, workflowsRequest } from '../noxus/listing.ts';
import type { SourceRequest } from '../noxus/request.ts';
import { runRequest } from '../noxus/run.ts';
import type { Source } from './source.ts';

/** The least time between two list requests that only test whether the source answers, ms. */
const ASK_EVERY_MS = 5_000;

/** Sends the requests to a source, and reports to its throttle what each answer says of the source. */
export class SourceReader {
  /** Before this the list is not asked for again. */
  private notBefore = 0;

  constructor(
    private readonly source: Source,
    private readonly client: NoxusClient,
  ) {}

  readRun(runId: string, options?: { onSent?: () => void }): Promise<PollResult> {
    return this.send(runRequest(runId), options);
  }

  readPage(question: ListQuestion): Promise<ListOutcome> {
    return this.send(pageRequest(question));
  }

  readWorkflows(question: WorkflowsQuestion): Promise<WorkflowListOutcome> {
    return this.send(workflowsRequest(question));
  }

  readDefinition(workflowId: string): Promise<DefinitionOutcome> {
    return this.send(definitionRequest(workflowId));
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

  private async send<Outcome>(
    request: SourceRequest<Outcome>,
    options?: { onSent?: () => void },
  ): Promise<Outcome> {
    const { throttle } = this.source;
    const asked = throttle.asks();
    const outcome = await this.client.send(request, options);
    const answer = request.saysOfSource(outcome);
    if (answer !== null) await throttle.note(answer, asked);
    return outcome;
  }

  private async ask(): Promise<void> {
    const permit = await this.source.limiter.claim();
    if (permit === null) return;
    await this.probeList();
    permit.settle();
  }
}
