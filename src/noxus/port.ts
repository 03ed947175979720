import type { ListQuestion } from '../core/feed/run-list.ts';
import type { ProbeOutcome, SourceHeaders, SourcePort } from '../core/source/port.ts';
import type { RequestReport } from '../core/source/request.ts';
import { createSourceClient, type SourceClientOptions } from '../fetch/client.ts';
import { createStreamConnections } from '../fetch/event-stream.ts';
import { definitionRequest } from './definition.ts';
import { pageRequest, workflowsRequest } from './listing.ts';
import { runRequest } from './run.ts';
import { streamsOfRuns } from './run-events.ts';
import { stopRequest } from './stop.ts';

export interface NoxusOptions extends Omit<SourceClientOptions, 'onRequest'> {
  /** Called after every request, also after one that failed; must not throw. */
  onRequest?: (report: RequestReport) => void;
  /** The most event streams at once, on connections of their own. */
  maxStreams: number;
}

/** What each request to a Noxus workspace carries. */
export function noxusHeaders(apiKey: string): SourceHeaders {
  return { 'x-api-key': apiKey };
}

/**
 * Opens a Noxus workspace. Nothing is sent before it is asked.
 * @throws RunwatchError `invalid_source` when no request could ever be made with these options
 */
export function openNoxus(options: NoxusOptions): SourcePort {
  const client = createSourceClient(options);
  const { maxStreams: maxSockets } = options;
  const connections = createStreamConnections({ now: Date.now, ...options, maxSockets });
  const readPage = (question: ListQuestion) => client.send(pageRequest(question));
  return {
    readRun: (runId, call) => client.send(runRequest(runId), call),
    async probe(): Promise<ProbeOutcome> {
      const outcome = await readPage({ workflowId: null, page: 1, size: 1 });
      return outcome.kind === 'page' ? { kind: 'answered' } : outcome;
    },
    readPage,
    streams: streamsOfRuns(connections),
    names: {
      readWorkflows: (question) => client.send(workflowsRequest(question)),
      readDefinition: (workflowId) => client.send(definitionRequest(workflowId)),
    },
    stop: (runId, call) => client.send(stopRequest(runId), call),
    useHeaders(headers) {
      client.useHeaders(headers);
      // Streams that are opened from now on send them.
      connections.useHeaders(headers);
    },
    close: () => client.close(),
  };
}
