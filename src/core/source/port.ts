import type { ListOutcome, ListQuestion } from '../feed/run-list.ts';
import type { EventStreams } from '../feed/run-stream.ts';
import type {
  DefinitionOutcome,
  WorkflowListOutcome,
  WorkflowsQuestion,
} from '../feed/workflow.ts';
import type { PollResult, RunSnapshot } from '../run/snapshot.ts';
import type { StopOutcome } from './stop.ts';

/** Headers that each request to a source carries; all of it is secret. */
export type SourceHeaders = Readonly<Record<string, string>>;

export interface ReadOptions {
  /** Gives the read up. */
  signal?: AbortSignal;
  /** Called when the request has left this host. */
  onSent?: () => void;
  /** Called before a second request, of a source that may read twice. */
  onSecond?: () => void;
  /** The snapshot before this read; absent where there is none. */
  before?: RunSnapshot | null;
}

/** What a request comes to that only shows whether the source answers. */
export type ProbeOutcome = { kind: 'answered' } | Exclude<ListOutcome, { kind: 'page' }>;

/** Names that a source gives what its runs belong to. */
interface SourceNames {
  readWorkflows(question: WorkflowsQuestion): Promise<WorkflowListOutcome>;
  readDefinition(workflowId: string): Promise<DefinitionOutcome>;
}

/**
 * The requests that a source takes; null for what it does not, as its `SourceTraits` say. Trouble with the
 * source is an outcome. What is thrown is RunwatchError: `aborted` when the caller gives up or it is closed,
 * `host_exhausted` when this host could open no connection. One deadline covers all that a request takes.
 */
export interface SourcePort {
  readRun(runId: string, options?: ReadOptions): Promise<PollResult>;
  /** The cheapest request that shows, without a run, whether the source answers. */
  readonly probe: (() => Promise<ProbeOutcome>) | null;
  readonly readPage: ((question: ListQuestion) => Promise<ListOutcome>) | null;
  readonly streams: EventStreams | null;
  readonly names: SourceNames | null;
  /** Stops a run; it is never sent twice. */
  readonly stop: ((runId: string, options?: ReadOptions) => Promise<StopOutcome>) | null;
  /** Sends other headers from now on; what is in flight goes on with its own. */
  useHeaders(headers: SourceHeaders): void;
  /** Gives up the requests in flight, and closes their connections. A stream ends by its own signal. */
  close(): void;
}
