import { z } from 'zod';
import type { DaemonClient } from '../../client/client.ts';
import type { AlertView, SilencePreviewView, SilenceView } from '../../client/types.ts';
import { RunwatchError } from '../../core/errors.ts';
import { formatDuration, parseDuration } from '../../core/time.ts';
import { usageError } from '../exit.ts';
import { count, plain } from '../render/text.ts';
import { resolveSilence } from '../resolve.ts';
import { confirm, UNDONE } from './acting-tools.ts';
import { answer, argumentsOf, oneOrMore, WRITES } from './answers.ts';
import { acknowledgeFailures, unacknowledgeFailures } from './failures.ts';
import {
  alertOf,
  CONFIRMED,
  failuresOf,
  noAlert,
  notWatched,
  readWatch,
  requireRules,
  requireSources,
  runToChange,
  workflowsOf,
} from './names.ts';
import { alertLine, quoted, silenceLine, summaryOf } from './texts.ts';
import type { Tools } from './tools.ts';

const by = z.string().min(1).max(128).describe('the person in whose name this is done');

const comment = z.string().max(1_000).exactOptional().describe('what others should know');

const alertId = z.string().min(1).describe('an alert id (alr_…), or its beginning');

const target = {
  id: z
    .string()
    .min(1)
    .describe(
      "an alert id (alr_…), or a run's id or URL, the beginning of an id does, too; workflow/ and the name or id of a workflow for its failures, source/ and the name of a source for those of runs without one",
    ),
  source: z
    .string()
    .optional()
    .describe('of a run or a workflow: the source, where several have it'),
};

/** Adds the tools that change what becomes of alerts; they need a token that may write. */
export function addAlertTools(tools: Tools): void {
  addAcknowledge(tools);
  addUnacknowledge(tools);
  addResolve(tools);
  addSilence(tools);
  addExpireSilence(tools);
}

function isAlertId(id: string): boolean {
  return /^\s*alr_/.test(id);
}

function addAcknowledge(tools: Tools): void {
  const { client } = tools;
  tools.add(
    'acknowledge',
    {
      description:
        'Marks a run, an alert or the failures of a workflow as taken in hand: no reminders and no escalation until its state changes, and failures are left out of list_attention until a run completes. Without `confirm: true` it says what it would touch and does nothing.',
      arguments: {
        ...target,
        by,
        comment,
        until: z.string().exactOptional().describe('a time, or a duration from now such as 2h'),
        confirm,
      },
      annotations: WRITES,
    },
    async ({ id, source, confirm: isConfirmed, ...body }) => {
      if (isAlertId(id)) {
        const before = await alertOf(id, tools, CONFIRMED);
        if (isConfirmed !== true) return wouldTouch('acknowledge', before, client);
        const alert = await client.acknowledgeAlert(before.id, body);
        if (alert === null) throw noAlert(before.id);
        const text = `Alert ${before.id} is acknowledged; unacknowledge takes it back.`;
        return alertAnswer(text, alert, client);
      }
      const failed = await failuresOf({ id, source }, tools);
      if (failed !== null) {
        return acknowledgeFailures(failed, { body, isConfirmed: isConfirmed === true }, client);
      }
      const run = await runToChange({ run_id: id, source }, tools);
      if (isConfirmed !== true) {
        const before = await readWatch(run, client);
        const text = `This would acknowledge 1 run: ${summaryOf(before, client.url)}`;
        return answer(`${text}\n${UNDONE}`, before);
      }
      const watch = await client.acknowledge(run, body);
      if (watch === null) throw notWatched(run.runId);
      const text = `Run ${run.runId} is acknowledged; unacknowledge takes it back.`;
      return answer('state' in watch ? `${text}\n${summaryOf(watch, client.url)}` : text, watch);
    },
  );
}

function addUnacknowledge(tools: Tools): void {
  const { client } = tools;
  tools.add(
    'unacknowledge',
    {
      description:
        'Takes the acknowledgement of a run, an alert or the failures of a workflow back: reminders and escalation go on. Without `confirm: true` it says what it would touch and does nothing.',
      arguments: { ...target, confirm },
      annotations: WRITES,
    },
    async ({ id, source, confirm: isConfirmed }) => {
      if (isAlertId(id)) {
        const alert = await alertOf(id, tools, CONFIRMED);
        const line = alertLine(alert, client.url);
        if (alert.acknowledged === null) return answer(`No user has acknowledged ${line}`, alert);
        if (isConfirmed !== true)
          return wouldTouch('take the acknowledgement back of', alert, client);
        if (!(await client.withdrawAlert(alert.id))) throw noAlert(alert.id);
        const text = `Alert ${alert.id} is no longer acknowledged.`;
        return alertAnswer(text, await alertOf(alert.id, tools), client);
      }
      const failed = await failuresOf({ id, source }, tools);
      if (failed !== null) return unacknowledgeFailures(failed, isConfirmed === true, client);
      const run = await runToChange({ run_id: id, source }, tools);
      const watch = await readWatch(run, client);
      const summary = summaryOf(watch, client.url);
      if (watch.acknowledged === null)
        return answer(`No user has acknowledged it. ${summary}`, watch);
      if (isConfirmed !== true) {
        const text = `This would take the acknowledgement back of 1 run: ${summary}`;
        return answer(`${text}\n${UNDONE}`, watch);
      }
      const named = { runId: watch.run_id, source: watch.source };
      if (!(await client.withdraw(named))) throw notWatched(watch.run_id);
      const after = await readWatch(named, client);
      const text = `Run ${watch.run_id} is no longer acknowledged.`;
      return answer(`${text}\n${summaryOf(after, client.url)}`, after);
    },
  );
}

function wouldTouch(verb: string, alert: AlertView, client: DaemonClient) {
  const text = `This would ${verb} 1 alert: ${alertLine(alert, client.url)}`;
  return answer(`${text}\n${UNDONE}`, alert);
}

/** What was done, and how the alert stands where the token may see it. */
function alertAnswer(text: string, alert: AlertView | { id: string }, client: DaemonClient) {
  return answer('rule' in alert ? `${text}\n${alertLine(alert, client.url)}` : text, alert);
}

function addResolve(tools: Tools): void {
  const { client } = tools;
  tools.add(
    'resolve_alert',
    {
      description:
        'Ends an alert by hand; those who were notified of it are notified of its end. Where the cause goes on, the next event opens another alert. Without `confirm: true` it says what it would end and does nothing.',
      arguments: { id: alertId, by, comment, confirm },
      annotations: { ...WRITES, destructiveHint: true },
    },
    async ({ id, confirm: isConfirmed, ...body }) => {
      const before = await alertOf(id, tools, CONFIRMED);
      if (before.state === 'resolved') {
        return alertAnswer(`Alert ${before.id} has resolved.`, before, client);
      }
      if (isConfirmed !== true) return wouldTouch('end', before, client);
      const alert = await client.resolveAlert(before.id, body);
      if (alert === null) throw noAlert(before.id);
      return alertAnswer(`Alert ${before.id} has ended.`, alert, client);
    },
  );
}

/** A silence that a model makes lasts no longer, ms. */
const MOST_MS = 86_400_000;

const names = oneOrMore(z.string()).exactOptional();

const matchers = argumentsOf({
  rule: names.describe('names of rules'),
  workflow_id: names.describe(
    'names of workflows, or their ids, the beginning or last part of one',
  ),
  source: names.describe('names of sources'),
  event: names.describe('types such as run.failed'),
  metadata: z
    .record(z.string(), z.string())
    .exactOptional()
    .describe('what the metadata of the watch has, such as {"team": "ml"}'),
}).describe('at least one of them, and of several values one; never every event of every source');

type Matchers = z.output<typeof matchers>;

function addSilence(tools: Tools): void {
  const { client, cli } = tools;
  tools.add(
    'silence',
    {
      description: `Mutes notifications of alerts that match, for ${formatDuration(MOST_MS)} at most. Matchers all have to match. Without \`confirm: true\` it says what it would mute and does nothing.`,
      arguments: {
        matchers,
        until: z
          .string()
          .describe(
            `a time, or a duration from now such as 2h; ${formatDuration(MOST_MS)} at most`,
          ),
        by,
        comment: z.string().min(1).max(1_000).describe('why'),
        confirm,
      },
      // Each call makes another silence, and people miss what it mutes.
      annotations: { ...WRITES, destructiveHint: true, idempotentHint: false },
    },
    async ({ confirm: isConfirmed, matchers: given, ...rest }) => {
      refuseLong(rest.until, cli.now());
      await refuseWide(given, client);
      const meant = await foundMatchers(given, client);
      const found = await client.previewSilence({ matchers: meant });
      if (isConfirmed !== true) {
        return answer(`This would mute ${mutedText(found, client.url)}\n${UNDONE}`, found);
      }
      const silence = await client.addSilence({ ...rest, matchers: meant });
      const text = `Silence ${silenceLine(silence, client.url)}.\nIt mutes ${mutedText(found, client.url)}\nexpire_silence ends it.`;
      return answer(text, silence);
    },
  );
}

function refuseLong(until: string, now: number): void {
  const ms = parseDuration(until) ?? Date.parse(until) - now;
  if (Number.isNaN(ms)) {
    throw usageError(`until: expected a time or a duration, got ${quoted(until)}`);
  }
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
  const isOfTypes = event !== undefined && [event].flat().every((type) => !type.includes('*'));
  const isSome = [rule, workflowId].some((one) => one !== undefined) || isOfTypes;
  if (isSome || Object.keys(metadata).length > 0) return;
  const { data } = await client.listSources();
  const others = data.filter(({ name }) => ![source].flat().includes(name));
  if (source !== undefined && others.length > 0) return;
  throw usageError(
    'matchers: this would mute every event of every source; name a rule, a workflow, one type of event or metadata',
  );
}

/** Matchers with the ids of workflows. Throws RunwatchError for names that nothing has: they would mute nothing. */
async function foundMatchers({ workflow_id: workflow, ...others }: Matchers, client: DaemonClient) {
  await requireRules(others.rule, client);
  await requireSources(others.source, client);
  const workflows = await workflowsOf(workflow, client);
  return { ...others, ...(workflows !== undefined && { workflow_id: workflows }) };
}

/** Most alerts that are listed. */
const MOST_LISTED = 20;

function mutedText({ now, last_24h: before }: SilencePreviewView, dashboard: string): string {
  const { alerts } = now;
  const listed = alerts.slice(0, MOST_LISTED).map((alert) => `- ${alertLine(alert, dashboard)}`);
  const more = alerts.length - listed.length;
  const byRule = Object.entries(before.by_rule).map(([rule, events]) => `${rule} ${events}`);
  const rules = byRule.length === 0 ? '' : `, by rule: ${byRule.join(', ')}`;
  const kind =
    alerts.length === 0
      ? 'no alert that goes on now, and those to come'
      : `${count(alerts.length, 'alert')} that ${alerts.length === 1 ? 'goes' : 'go'} on, and more of the kind`;
  return [
    `${kind}: it matches ${count(before.events, 'event')} of the last 24 hours${rules}.`,
    ...listed,
    ...(more > 0 ? [`- and ${more} more`] : []),
  ].join('\n');
}

function addExpireSilence(tools: Tools): void {
  const { client, cli } = tools;
  tools.add(
    'expire_silence',
    {
      description:
        'Ends a silence now: alerts that it matches are notified again. Without `confirm: true` it says which silence it would end and does nothing.',
      arguments: {
        id: z.string().min(1).describe('a silence id (sil_…), or its beginning'),
        confirm,
      },
      annotations: WRITES,
    },
    async ({ id: given, confirm: isConfirmed }) => {
      const id = await resolveSilence(given, { client, cli, writes: CONFIRMED });
      const silence = await readSilence(id, client);
      const line = silenceLine(silence, client.url);
      if (silence.state === 'expired') return answer(`Silence ${line}.`, silence);
      if (isConfirmed !== true) {
        return answer(`This would end 1 silence: ${line}\n${UNDONE}`, silence);
      }
      if (!(await client.expireSilence(id))) throw noSilence(id);
      const after = await readSilence(id, client);
      return answer(`Silence ${silenceLine(after, client.url)}.`, after);
    },
  );
}

async function readSilence(id: string, client: DaemonClient): Promise<SilenceView> {
  const { data } = await client.listSilences();
  const silence = data.find((one) => one.id === id);
  if (silence === undefined) throw noSilence(id);
  return silence;
}

function noSilence(id: string): RunwatchError {
  return new RunwatchError(`there is no silence ${plain(id)}; list_silences lists them`, {
    code: 'silence_not_found',
  });
}
