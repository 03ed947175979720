import { inWords } from '../arrays.ts';
import { formatDuration } from '../time.ts';
import { isFinal, type Condition, type Resolution, type Rule } from './rule.ts';

/** What a rule does, in words. */
export interface RuleText {
  /** Which events or runs it is about, and which of them share an alert. */
  watches: string;
  /** When its alert fires. */
  fires: string;
  /** Which endpoints are notified, and when. */
  notifies: string;
  /** When its alert ends. */
  ends: string;
}

/** @param nameOf the name of a workflow, by its id; null where it is not known */
export function ruleText(rule: Rule, nameOf: (workflowId: string) => string | null): RuleText {
  const firing = firesText(rule.condition);
  const lasting = rule.forMs === 0 ? '' : `, and still so after ${formatDuration(rule.forMs)}`;
  return {
    watches: `${aboutText(rule, nameOf)}; ${groupText(rule.groupBy)}`,
    fires: `${firing}${lasting}`,
    notifies: notifiesText(rule),
    ends: endsText(rule),
  };
}

function aboutText({ condition, events, when }: Rule, nameOf: (id: string) => string | null) {
  const { source, workflow_id: workflows, metadata = {} } = when ?? {};
  const named = workflows?.map((id) => nameOf(id) ?? id);
  return [
    subjectOf(condition, events),
    ...(named === undefined
      ? []
      : [`of ${named.length === 1 ? 'workflow' : 'workflows'} ${oneOf(named)}`]),
    ...(source === undefined ? [] : [`of source ${oneOf(source)}`]),
    ...Object.entries(metadata).map(([key, values]) => `with ${key}=${oneOf(values)}`),
  ].join(' ');
}

function subjectOf(condition: Condition, events: readonly string[]): string {
  if (condition.kind === 'absent') return condition.event;
  return condition.kind === 'deadline' ? 'runs' : oneOf(events);
}

const LABELS: Readonly<Record<string, string>> = {
  source: 'source',
  workflow_id: 'workflow',
  event: 'type of event',
};

function groupText(groupBy: readonly string[]): string {
  if (groupBy.includes('...')) return 'one alert for each run';
  if (groupBy.length === 0) return 'one alert for all';
  const names = groupBy.map((label) => LABELS[label] ?? label.slice('metadata.'.length));
  return `one alert for each ${allOf(names)}`;
}

function firesText(condition: Condition): string {
  switch (condition.kind) {
    case 'each':
      return 'at the first event';
    case 'count':
      return `at ${counted(condition.count, 'event')} within ${formatDuration(condition.withinMs)}`;
    case 'consecutive':
      return `at ${counted(condition.count, 'such run')} in a row`;
    case 'rate': {
      const { rate, ofLast, atLeast } = condition;
      const share = `${Number((rate * 100).toFixed(2))} %`;
      return `at ${share} of the last ${counted(ofLast, 'run')}, once ${atLeast} have ended`;
    }
    case 'absent':
      return `when none has come for ${formatDuration(condition.withinMs)}`;
    case 'deadline':
      return `when a run ${lateText(condition)}`;
    case 'digest':
      return 'never at once: its events are collected for a digest';
  }
}

function lateText({ reference, limit }: Condition & { kind: 'deadline' }): string {
  const from = reference === 'created_at' ? 'it was created' : 'it started';
  if (limit.kind === 'interval') return `has not ended ${formatDuration(limit.ms)} after ${from}`;
  const usual = `${limit.percentile} % of the runs of its workflow`;
  return `takes more than ${limit.times} times as long as ${usual}, from when ${from}`;
}

function notifiesText({ condition, ...rule }: Rule): string {
  const to = rule.notify.length === 0 ? 'no endpoint' : allOf(rule.notify);
  const muted = [...new Set(rule.mute.map(({ name }) => name))];
  const mutes = muted.length === 0 ? [] : [`in ${oneOf(muted)} nothing, and a digest afterwards`];
  if (condition.kind === 'digest') {
    const { minute, location } = condition.schedule;
    return [`${to} daily at ${clockText(minute)} (${location})`, ...mutes].join('; ');
  }
  const { groupWaitMs, groupIntervalMs, repeatIntervalMs, escalate } = rule;
  const wait = groupWaitMs === 0 ? 'at once' : `after ${formatDuration(groupWaitMs)}`;
  return [
    `${to} ${wait}`,
    `updates every ${formatDuration(groupIntervalMs)} at most`,
    `again every ${formatDuration(repeatIntervalMs)} until it is acknowledged`,
    ...escalate.map(({ afterMs, unlessAcknowledged, notify }) => {
      const unless = unlessAcknowledged ? ' unless it is acknowledged' : '';
      return `${allOf(notify)} after ${formatDuration(afterMs)}${unless}`;
    }),
    ...mutes,
  ].join('; ');
}

function clockText(minute: number): string {
  const parts = [Math.floor(minute / 60), minute % 60];
  return parts.map((part) => String(part).padStart(2, '0')).join(':');
}

function endsText({ condition, resolve, keepFiringForMs, groupBy }: Rule): string {
  const kept = keepFiringForMs === 0 ? '' : `, after another ${formatDuration(keepFiringForMs)}`;
  switch (condition.kind) {
    case 'each':
      return resolutionText(resolve, { isOfRun: groupBy.includes('...'), kept });
    case 'count':
    case 'consecutive':
    case 'rate':
      return `when that is so no more${kept}, or by hand`;
    case 'absent':
      return 'when one comes, or by hand';
    case 'deadline':
      return 'when all runs that are late have ended, or by hand';
    case 'digest':
      return 'with its digest';
  }
}

function resolutionText(
  { events, count, settleMs, afterMs }: Resolution,
  { isOfRun, kept }: { isOfRun: boolean; kept: string },
): string {
  const settled = settleMs === 0 ? '' : ` and none has matched for ${formatDuration(settleMs)}`;
  const many = count === 1 ? '' : ` ${count} times in a row`;
  const goesOn = isOfRun && events.some(isFinal) && events.includes('run.resumed');
  const what = goesOn ? 'the run goes on or ends' : `${oneOf(events)} comes${many}`;
  const ends = [
    ...(events.length === 0 ? [] : [`when ${what}${settled}${kept}`]),
    ...(afterMs === null ? [] : [`after ${formatDuration(afterMs)} without a match`]),
    'by hand',
  ];
  return ends.length === 1 ? 'only by hand' : `${ends.slice(0, -1).join(', ')}, or by hand`;
}

function counted(amount: number, noun: string): string {
  return amount === 1 ? `1 ${noun}` : `${amount} ${noun}s`;
}

function oneOf(names: readonly string[]): string {
  return inWords(names, 'or');
}

function allOf(names: readonly string[]): string {
  return inWords(names, 'and');
}
