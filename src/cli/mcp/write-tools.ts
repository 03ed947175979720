import type { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { z } from 'zod';
import { RunwatchError } from '../../core/errors.ts';
import { type McpDeps, answer, attempt, notWatched, runOf } from './tool.ts';

const WRITES = { readOnlyHint: false, destructiveHint: false, idempotentHint: true };

const by = z.string().min(1).max(128).describe('the person in whose name this is done');

/** Adds the tools that change something; they need a token that may write. */
export function addWriteTools(server: McpServer, deps: McpDeps): void {
  const { client } = deps;
  server.registerTool(
    'acknowledge',
    {
      description:
        'Marks a run or an alert as taken in hand: no reminders and no escalation until its state changes.',
      inputSchema: {
        id: z.string().min(1).describe('a run id, or an alert id (alr_…)'),
        by,
        comment: z.string().max(1_000).exactOptional(),
        until: z.string().exactOptional().describe('a time, or a duration from now such as 2h'),
        source: z.string().optional(),
      },
      annotations: WRITES,
    },
    ({ id, source, ...body }) =>
      attempt(async () => {
        if (id.startsWith('alr_')) {
          const alert = await client.acknowledgeAlert(id, body);
          if (alert === null) {
            throw new RunwatchError(`there is no alert ${id}`, { code: 'alert_not_found' });
          }
          return answer(`Alert ${id} is acknowledged.`, alert);
        }
        const run = await runOf({ run_id: id, source }, deps);
        const watch = await client.acknowledge(run, body);
        if (watch === null) throw notWatched(run.runId);
        return answer(`Run ${run.runId} is acknowledged.`, watch);
      }),
  );
  server.registerTool(
    'silence',
    {
      description:
        'Mutes notifications of alerts that match, until a time. Matchers all have to match.',
      inputSchema: {
        matchers: z
          .object({
            rule: z.string().optional(),
            workflow_id: z.string().optional(),
            source: z.string().optional(),
            event: z.string().optional(),
            metadata: z.record(z.string(), z.string()).optional(),
          })
          .describe('at least one of them'),
        until: z.string().describe('a time, or a duration from now such as 2h'),
        by,
        comment: z.string().min(1).max(1_000),
      },
      annotations: WRITES,
    },
    (body) =>
      attempt(async () => {
        const silence = await client.addSilence(body);
        return answer('The alerts that match are silenced.', silence);
      }),
  );
}
