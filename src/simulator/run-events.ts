import type { ServerResponse } from 'node:http';
import { isTerminalStatus } from '../core/run.ts';
import type { RunRegistry } from './run-registry.ts';
import { PRIVATE_CANARY } from './wire-run.ts';

/** How often a stream looks whether its run has moved on, ms. */
const LOOK_EVERY_MS = 20;

/** Content comes along all the time, every so many looks. */
const CONTENT_EVERY = 5;

/** What is known of the streams of a simulator. */
export interface StreamBook {
  /** How many were ever opened, whatever became of them. */
  opened: number;
  open: number;
  /** The most that were ever open at once. */
  maxOpen: number;
}

/**
 * `GET /v1/runs/{run_id}/events`: what happens to a run while somebody listens, content included.
 * Ends where Noxus's stream does: when the run has completed or failed, not when it was stopped.
 * @param dropAfterMs when the connection breaks; null for never
 */
export function streamEvents(
  response: ServerResponse,
  { runs, runId, dropAfterMs }: { runs: RunRegistry; runId: string; dropAfterMs: number | null },
): Promise<void> {
  let told: string | null = null;
  let looks = 0;
  let events = 0;
  const tell = (type: string, data: object) => {
    const redisId = `${Date.now()}-${(events += 1)}`;
    response.write(`event: message\ndata: ${JSON.stringify({ type, data, redisId })}\n\n`);
  };
  const look = () => {
    const answer = runs.read(runId);
    if (answer.kind !== 'run') return response.end();
    const { status } = answer.run;
    if (status !== told) tell('state', { workflow_status: status, node: PRIVATE_CANARY });
    told = status;
    if (looks % CONTENT_EVERY === 0) tell('content', { text: PRIVATE_CANARY });
    looks += 1;
    return isTerminalStatus(status) && status !== 'stopped' ? response.end() : response;
  };
  openStream(response);
  look();
  const timers = [
    setInterval(look, LOOK_EVERY_MS),
    ...(dropAfterMs === null ? [] : [setTimeout(() => response.destroy(), dropAfterMs)]),
  ];
  return untilClosed(response, () => timers.forEach((timer) => clearTimeout(timer)));
}

/** Says 200 and that events are to come. */
export function openStream(response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  response.flushHeaders();
}

async function untilClosed(response: ServerResponse, then: () => void): Promise<void> {
  await new Promise((resolve) => {
    if (response.closed) resolve(null);
    else response.once('close', resolve);
  });
  then();
}
