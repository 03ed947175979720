import type { CallToolResult } from '@modelcontextprotocol/sdk/types.js';
import { z } from 'zod';
import type { DaemonClient } from '../../client/client.ts';
import { messageOf, RunwatchError } from '../../core/errors.ts';
import type { CliContext } from '../context.ts';
import { resolveRun } from '../resolve.ts';

export const runArguments = {
  run_id: z.string().min(1).describe("the run's id, the beginning of it, or its URL"),
  source: z.string().optional().describe('the source, where several have the run'),
};

export interface RunArguments {
  run_id: string;
  source?: string | undefined;
}

/** The run that arguments name. Throws RunwatchError. */
export async function runOf({ run_id: given, source }: RunArguments, deps: McpDeps) {
  return { runId: await resolveRun(given, deps), source };
}

/** The answer of a tool: words for the model, and the API's answer for programs. */
export function answer(text: string, data: object): CallToolResult {
  return {
    content: [{ type: 'text', text }],
    structuredContent: data as Record<string, unknown>,
  };
}

/** What goes wrong is an answer that the model can act on, not a fault of the protocol. */
export async function attempt(work: () => Promise<CallToolResult>): Promise<CallToolResult> {
  try {
    return await work();
  } catch (error) {
    return { isError: true, content: [{ type: 'text', text: messageOf(error) }] };
  }
}

export function notWatched(runId: string): RunwatchError {
  return new RunwatchError(`run ${runId} is not watched`, { code: 'watch_not_found' });
}

/** What the tools work with. */
export interface McpDeps {
  client: DaemonClient;
  context: CliContext;
}
