import pRetry from 'p-retry';
import type { Random } from '../core/backoff.ts';
import { isRetriable, RunwatchError } from '../core/errors.ts';
import type { PollResult } from '../core/run/snapshot.ts';
import type { ListOutcome, ListQuestion } from '../core/feed/run-list.ts';
import type {
  DefinitionOutcome,
  WorkflowListOutcome,
  WorkflowsQuestion,
} from '../core/feed/workflow.ts';
import { isWorthRetrying, outcomeOf, RunBody, READ_FIELDS } from './run.ts';
import { Deadline } from '../deadline.ts';
import { definitionOutcome, WorkflowBody, workflowPath } from './definition.ts';
import { ListBody, listOutcome, listPath, workflowsOutcome, workflowsPath } from './listing.ts';
import { createTransport, type Reply, type TakePiece, type TransportOptions } from './transport.ts';

/** Quick retries after the first attempt; whatever lasts longer is for the cadence to deal with. */
const MAX_RETRIES = 2;

/** The first retry comes after 100–200 ms, the second after twice that. */
const MIN_RETRY_DELAY_MS = 100;

/** A retry that would have less time than this is not begun: its time-out would hide what happened. */
const MIN_RETRY_TIME_MS = 100;

/** One request as it went over the wire, for metrics. */
interface RequestInfo {
  /** The read of one run, of a page of a list, be it of runs or of workflows, or of one workflow. */
  kind: 'run' | 'list' | 'workflow';
  /** Null where no answer came. */
  status: number | null;
  durationMs: number;
}

export interface NoxusClientOptions extends TransportOptions {
  /** The wall clock, milliseconds since the epoch. */
  now?: () => number;
  random?: Random;
  /** Asked before every quick retry; a retry that may not be sent now is left out. */
  mayRetry?: () => Promise<boolean>;
  /** Called after every request, also after one that failed; must not throw. */
  onRequest?: (info: RequestInfo) => void;
  /** Called once for each field of runs that is missing, or cannot be read, in some answer. */
  onUnreadField?: (field: string) => void;
}

export interface NoxusClient {
  /**
   * Reads one run: `GET /v1/runs/{run_id}`. One deadline covers everything, quick retries included.
   * @param options.onSent called when the first request has left this host
   * @throws RunwatchError `aborted` when `signal` fires or the client is closed, `host_exhausted` when
   * this host could open no connection; trouble with Noxus is never thrown
   */
  readRun: (
    runId: string,
    options?: { signal?: AbortSignal; onSent?: () => void },
  ) => Promise<PollResult>;
  /**
   * Reads a page of a list of runs: `GET /v1/workflows/{workflow_id}/runs`, or `GET /v1/runs` for
   * those of all workflows. One request, never repeated, under one deadline. However large the
   * answer, little of it is held.
   * @throws RunwatchError `aborted` as {@link NoxusClient.readRun} does
   */
  readPage: (question: ListQuestion, options?: { signal?: AbortSignal }) => Promise<ListOutcome>;
  /**
   * Reads a page of the list of workflows: `GET /v1/workflows`. One request, never repeated, under one
   * deadline.
   * @throws RunwatchError `aborted` as {@link NoxusClient.readRun} does
   */
  readWorkflows: (question: WorkflowsQuestion) => Promise<WorkflowListOutcome>;
  /**
   * Reads the names of a workflow's nodes: `GET /v1/workflows/{workflow_id}`. One request, never repeated.
   * @throws RunwatchError `aborted` as {@link NoxusClient.readRun} does
   */
  readDefinition: (workflowId: string) => Promise<DefinitionOutcome>;
  /** Sends another API key from now on; what is in flight goes on with its own. */
  useApiKey: (apiKey: string) => void;
  /** Gives up what is in flight and closes all connections. */
  close: () => void;
}

/** A client of one Noxus source with a connection pool of its own. */
export function createNoxusClient(options: NoxusClientOptions): NoxusClient {
  const { timeoutMs, now = Date.now, random = Math.random, onRequest } = options;
  const { mayRetry = async () => true } = options;
  const transport = createTransport(options);
  const calls = createCalls(timeoutMs);
  const onUnread = once(options.onUnreadField ?? (() => undefined));

  const send = async ({ kind, path, take, onSent }: Asked, deadline: Deadline): Promise<Reply> => {
    const startedAt = performance.now();
    const reply = await transport.get(path, deadline, take, onSent);
    onRequest?.({ kind, status: reply.status, durationMs: performance.now() - startedAt });
    deadline.throwIfAbandoned();
    return reply;
  };

  const attempt = async (runId: string, deadline: Deadline, onSent?: () => void) => {
    const path = `v1/runs/${encodeURIComponent(runId)}`;
    const body = new RunBody(READ_FIELDS);
    return { reply: await send({ kind: 'run', path, take: body.take, onSent }, deadline), body };
  };

  return {
    readRun: (runId, { signal, onSent } = {}) =>
      calls.within(signal, async (deadline) => {
        let answer = await attempt(runId, deadline, onSent);
        if (isWorthRetrying(answer.reply)) {
          const again = async () => ((await mayRetry()) ? attempt(runId, deadline) : null);
          answer = await retryQuickly(answer, again, deadline, random);
        }
        const question = { runId, apiKey: transport.apiKey, now: now(), onUnread };
        return outcomeOf(answer.reply, answer.body, question);
      }),
    readPage: (question, { signal } = {}) =>
      calls.within(signal, async (deadline) => {
        const body = ListBody.ofRuns();
        const asked: Asked = { kind: 'list', path: listPath(question), take: body.take };
        return listOutcome(await send(asked, deadline), body, { question, now: now(), onUnread });
      }),
    readWorkflows: (question) =>
      calls.within(undefined, async (deadline) => {
        const body = ListBody.ofWorkflows();
        const asked: Asked = { kind: 'list', path: workflowsPath(question), take: body.take };
        return workflowsOutcome(await send(asked, deadline), body, { question, now: now() });
      }),
    readDefinition: (workflowId) =>
      calls.within(undefined, async (deadline) => {
        const body = new WorkflowBody();
        const asked: Asked = { kind: 'workflow', path: workflowPath(workflowId), take: body.take };
        return definitionOutcome(await send(asked, deadline), body, now());
      }),
    useApiKey: (apiKey) => transport.useApiKey(apiKey),
    close: () => {
      calls.abandonAll();
      transport.close();
    },
  };
}

interface Asked {
  kind: RequestInfo['kind'];
  path: string;
  take: TakePiece;
  onSent?: (() => void) | undefined;
}

/** Calls that each have a deadline of their own, and are given up together. */
function createCalls(timeoutMs: number) {
  const inFlight = new Set<Deadline>();
  let closed = false;
  return {
    async within<Outcome>(
      signal: AbortSignal | undefined,
      call: (deadline: Deadline) => Promise<Outcome>,
    ): Promise<Outcome> {
      const deadline = new Deadline(timeoutMs, signal);
      inFlight.add(deadline);
      try {
        if (closed) deadline.abandon();
        deadline.throwIfAbandoned();
        return await call(deadline);
      } finally {
        inFlight.delete(deadline);
        deadline.release();
      }
    },
    /** Gives up the calls in flight, and all that follow. */
    abandonAll() {
      closed = true;
      for (const deadline of inFlight) deadline.abandon();
    },
  };
}

/** A reply to a read of a run, with what was taken in of its body. */
interface RunReply {
  reply: Reply;
  body: RunBody;
}

/** Reports each field once, however often it occurs. */
function once(report: (field: string) => void): (fields: string[]) => void {
  const reported = new Set<string>();
  return (fields) => {
    for (const field of fields) {
      if (reported.has(field)) continue;
      reported.add(field);
      report(field);
    }
  };
}

/**
 * Repeats a request after a transient failure, while the deadline leaves room. p-retry comes in
 * only here, so that the usual case, a first answer that is good, pays nothing for it.
 * @returns the first good reply, else the last bad one
 */
async function retryQuickly(
  first: RunReply,
  again: () => Promise<RunReply | null>,
  deadline: Deadline,
  random: Random,
): Promise<RunReply> {
  const delayMs = MIN_RETRY_DELAY_MS * (1 + random());
  let last = first;
  const step = async (attemptNumber: number): Promise<void> => {
    const answer = attemptNumber > 1 ? await again() : last;
    if (answer === null) return;
    last = answer;
    if (!isWorthRetrying(last.reply)) return;
    throw new RunwatchError('worth a retry', { code: 'unavailable', retriable: true });
  };
  try {
    await pRetry(step, {
      retries: MAX_RETRIES,
      minTimeout: delayMs,
      factor: 2,
      signal: deadline.signal,
      shouldRetry: ({ error, retriesConsumed }) =>
        isRetriable(error) &&
        deadline.remainingMs >= delayMs * 2 ** retriesConsumed + MIN_RETRY_TIME_MS,
    });
  } catch (error) {
    deadline.throwIfAbandoned();
    if (!isRetriable(error) && !deadline.signal.aborted) throw error;
  }
  return last;
}
