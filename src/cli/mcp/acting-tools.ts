import type { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import type { CallToolResult } from '@modelcontextprotocol/sdk/types.js';
import { z } from 'zod';
import type { DaemonClient, RunRef } from '../../client/client.ts';
import type { AlertView, SilencePreviewView } from '../../client/types.ts';
import { RunwatchError } from '../../core/errors.ts';
import { formatDuration, parseDuration } from '../../core/time.ts';
import type { CommandLine } from '../command-line.ts';
import { usageError } from '../exit.ts';
import { count } from '../render/text.ts';
import { resolveRun } from '../resolve.ts';
import { alertLine, summaryOf } from './texts.ts';
import { answer, attempt, notWatched, readWatch, runArguments, runOf } from './tools.ts';

const WRITES = { readOnlyHint: false, destructiveHint: false, idempotentHint: true };

const by = z.string().min(1).max(128).describe('the person in whose name this is done');

const confirm = z
  .boolean()
  .optional()
  .describe('true acts; else the answer says what the call would touch, and nothing changes');

/** How an answer ends that only says what a call would do. */
const UNDONE = 'Nothing has changed. Where the person agrees, call again with confirm: true.';

/** Adds the tools that change something; they need a token that may write. */
export function addWriteTools(server: McpServer, client: DaemonClient, cli: CommandLine): void {
  addAcknowledge(server, client, cli);
  addResolve(server, client);
  addSilence(server, client, cli);
}

/** Adds the tool that stops runs; it needs a token with the scope admin. */
export function addStopTool(server: McpServer, client: DaemonClient, cli: CommandLine): void {
  server.registerTool(
    'stop_run',
    {
      description:
        'Has its source stop a run, which cannot be taken back; wait_run says when it has stopped. Without `confirm: true` it says which run it would stop and does nothing.',
      inputSchema: { ...runArguments, confirm },
      annotations: {
        ...WRITES,
        destructiveHint: true,
        idempotentHint: false,
        openWorldHint: true,
      },
    },
    ({ confirm: isConfirmed, ...given }) =>
      attempt(async () => {
        const { run_id: id, source } = given;
        const run = await resolveRun(id, { client, cli, source, writes: { yes: true } });
        const watch = await readWatch(run, client);
        if (isConfirmed !== true) {
          return answer(`This would stop 1 run: ${summaryOf(watch)}\n${UNDONE}`, watch);
        }
        const asked = await client.stop({ runId: watch.run_id, source: watch.source });
        return answer(`The source of run ${watch.run_id} was asked to stop it.`, asked);
      }),
  );
}

function addAcknowledge(server: McpServer, client: DaemonClient, cli: CommandLine): void {
  server.registerTool(
    'acknowledge',
    {
      description:
        'Marks a run or an alert as taken in hand: no reminders and no escalation until its state changes. Without `confirm: true` it says what it would touch and does nothing.',
      inputSchema: {
        id: z.string().min(1).describe('a run id, or an alert id (alr_…)'),
        by,
        comment: z.string().max(1_000).exactOptional(),
        until: z.string().exactOptional().describe('a time, or a duration from now such as 2h'),
        source: z.string().optional(),
        confirm,
      },
      annotations: { ...WRITES, openWorldHint: true },
    },
    ({ id, source, confirm: isConfirmed, ...body }) =>
      attempt(async () => {
        if (id.startsWith('alr_')) {
          if (isConfirmed !== true) return wouldAcknowledgeAlert(id, client);
          const alert = await client.acknowledgeAlert(id, body);
          if (alert === null) throw noAlert(id);
          return answer(`Alert ${id} is acknowledged.`, alert);
        }
        const run = await runOf({ run_id: id, source }, client, cli);
        if (isConfirmed !== true) return wouldAcknowledgeRun(run, client);
        const watch = await client.acknowledge(run, body);
        if (watch === null) throw notWatched(run.runId);
        return answer(`Run ${run.runId} is acknowledged.`, watch);
      }),
  );
}

function noAlert(id: string): RunwatchError {
  return new RunwatchError(`there is no alert ${id}`, { code: 'alert_not_found' });
}

async function readAlert(id: string, client: DaemonClient): Promise<AlertView> {
  const alert = await client.getAlert(id);
  if (alert === null) throw noAlert(id);
  return alert;
}

async function wouldAcknowledgeRun(run: RunRef, client: DaemonClient): Promise<CallToolResult> {
  const watch = await readWatch(run, client);
  return answer(`This would acknowledge 1 run: ${summaryOf(watch)}\n${UNDONE}`, watch);
}

async function wouldAcknowledgeAlert(id: string, client: DaemonClient): Promise<CallToolResult> {
  const alert = await readAlert(id, client);
  const text = `This would acknowledge 1 alert, of ${count(alert.count, 'event')}: ${alertLine(alert)}`;
  return answer(`${text}\n${UNDONE}`, alert);
}

function addResolve(server: McpServer, client: DaemonClient): void {
  server.registerTool(
    'resolve_alert',
    {
      description:
        'Ends an alert by hand; those who were notified of it are notified of its end. Where the cause goes on, the next event opens another alert. Without `confirm: true` it says what it would end and does nothing.',
      inputSchema: {
        id: z.string().min(1).describe('an alert id (alr_…)'),
        by,
        comment: z.string().max(1_000).exactOptional(),
        confirm,
      },
      annotations: { ...WRITES, openWorldHint: true },
    },
    ({ id, confirm: isConfirmed, ...body }) =>
      attempt(async () => {
        const before = await readAlert(id, client);
        if (before.state === 'resolved') return answer(`Alert ${id} has resolved.`, before);
        if (isConfirmed !== true) {
          return answer(`This would end 1 alert: ${alertLine(before)}\n${UNDONE}`, before);
        }
        const alert = await client.resolveAlert(id, body);
        if (alert === null) throw noAlert(id);
        return answer(`Alert ${id} has ended.`, alert);
      }),
  );
}

/** A silence that a model makes lasts no longer, ms. */
const MOST_MS = 86_400_000;

const matchers = z
  .strictObject({
    rule: z.string().exactOptional(),
    workflow_id: z.string().exactOptional(),
    source: z.string().exactOptional(),
    event: z.string().exactOptional().describe('a type such as run.failed'),
    metadata: z.record(z.string(), z.string()).exactOptional(),
  })
  .describe('at least one of them; never every event of every source');

type Matchers = z.output<typeof matchers>;

function addSilence(server: McpServer, client: DaemonClient, cli: CommandLine): void {
  server.registerTool(
    'silence',
    {
      description: `Mutes notifications of alerts that match, for ${formatDuration(MOST_MS)} at most. Matchers all have to match. Without \`confirm: true\` it says what it would mute and does nothing.`,
      inputSchema: {
        matchers,
        until: z
          .string()
          .describe(
            `a time, or a duration from now such as 2h; ${formatDuration(MOST_MS)} at most`,
          ),
        by,
        comment: z.string().min(1).max(1_000),
        confirm,
      },
      // Each call makes another silence, and people miss what it mutes.
      annotations: {
        ...WRITES,
        destructiveHint: true,
        idempotentHint: false,
        openWorldHint: true,
      },
    },
    ({ confirm: isConfirmed, ...body }) =>
      attempt(async () => {
        refuseLong(body.until, cli.now());
        await refuseWide(body.matchers, client);
        if (isConfirmed === true) {
          const silence = await client.addSilence(body);
          return answer('The alerts that match are silenced.', silence);
        }
        const found = await client.previewSilence({ matchers: body.matchers });
        return answer(`${mutedText(found)}\n${UNDONE}`, found);
      }),
  );
}

function refuseLong(until: string, now: number): void {
  const ms = parseDuration(until) ?? Date.parse(until) - now;
  if (Number.isNaN(ms)) throw usageError(`until: expected a time or a duration, got "${until}"`);
  if (ms <= MOST_MS) return;
  throw usageError(
    `until: this tool silences for ${formatDuration(MOST_MS)} at most; a person may do so for longer`,
  );
}

/** Throws RunwatchError for matchers that leave no event of any source to be notified. */
async function refuseWide(
  { rule, workflow_id: workflowId, source, event, metadata = {} }: Matchers,
  client: DaemonClient,
): Promise<void> {
  const isOneType = event !== undefined && !event.includes('*');
  const isSome = [rule, workflowId].some((one) => one !== undefined) || isOneType;
  if (isSome || Object.keys(metadata).length > 0) return;
  const others = await client.listSources();
  if (source !== undefined && others.data.some(({ name }) => name !== source)) return;
  throw usageError(
    'matchers: this would mute every event of every source; name a rule, a workflow, one type of event or metadata',
  );
}

/** Most alerts that are listed. */
const MOST_LISTED = 20;

function mutedText({ now, last_24h: before }: SilencePreviewView): string {
  const { alerts } = now;
  const listed = alerts.slice(0, MOST_LISTED).map((alert) => `- ${alertLine(alert)}`);
  const more = alerts.length - listed.length;
  const byRule = Object.entries(before.by_rule).map(([rule, events]) => `${rule} ${events}`);
  const rules = byRule.length === 0 ? '' : `, by rule: ${byRule.join(', ')}`;
  return [
    `This would mute ${count(alerts.length, 'alert')} that ${alerts.length === 1 ? 'goes' : 'go'} on, and more of the kind: it matches ${count(before.events, 'event')} of the last 24 hours${rules}.`,
    ...listed,
    ...(more > 0 ? [`- and ${more} more`] : []),
  ].join('\n');
}
