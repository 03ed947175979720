import { didYouMean, suggest } from '../../config/problems.ts';
import type { Config, HttpSourceConfig } from '../../config/schema.ts';
import { withoutControls } from '../../core/control-characters.ts';
import {
  isAwaiting,
  isKnownStatus,
  isTerminalStatus,
  type PollResult,
  type RunSnapshot,
} from '../../core/run/snapshot.ts';
import { grantedPauseMs } from '../../core/source/throttle.ts';
import { formatDuration } from '../../core/time.ts';
import type { FirstReason, SecondReason, Trial, TriedRead } from '../../declared/trial.ts';

/** What a daemon does after such an answer. */
export function nextOf(result: PollResult, { polling }: Config): string {
  const long = formatDuration(polling.unreachable_after);
  switch (result.kind) {
    case 'run':
      return afterRun(result.run, result.retryAfterMs);
    case 'not_found':
    case 'rejected':
      return (
        'It is polled on, and run.gone is sent once that has lasted for ' +
        `${formatDuration(polling.gone_after)} (polling.gone_after) while the source answers otherwise.`
      );
    case 'unauthorized':
      return (
        'The source is paused, source.unauthorized is sent, and one request is tried every ' +
        `${formatDuration(polling.unauthorized_probe)} (polling.unauthorized_probe).`
      );
    case 'rate_limited':
      return `The source is paused for ${formatDuration(grantedPauseMs(result.retryAfterMs))}, and no event of a run is sent.`;
    case 'forbidden':
    case 'unavailable':
    case 'invalid_response':
      return (
        'It is polled on, and the run counts as neither failed nor gone. After ' +
        `${long} (polling.unreachable_after), watch.unreachable is sent, or source.unreachable where no run can be read.`
      );
  }
}

function afterRun({ status }: RunSnapshot, retryAfterMs: number | undefined): string {
  if (isTerminalStatus(status)) return `run.${status} is sent, and the watch ends.`;
  const on =
    retryAfterMs === undefined
      ? 'the run is polled on'
      : `the run is polled again in ${formatDuration(retryAfterMs)}, as the answer asks for`;
  if (isAwaiting(status)) return `run.awaiting_human_feedback is sent, and ${on}.`;
  if (!isKnownStatus(status)) return `run.status_unknown is sent once for this word, and ${on}.`;
  return `${on[0]?.toUpperCase() ?? ''}${on.slice(1)}.`;
}

/** Longest value that a sentence repeats, characters. */
const MAX_QUOTED = 64;

function quoted(value: string): string {
  const text = withoutControls(value, '\u{fffd}');
  return `"${text.length > MAX_QUOTED ? `${text.slice(0, MAX_QUOTED)}…` : text}"`;
}

/** Why a run has its status, an entry for each answer. */
export function reasonsOf({ result, first, second }: Trial): string[] {
  if (result.kind !== 'run' || first === null) return [];
  return [firstText(first), ...(second === null ? [] : [secondText(second)])];
}

function firstText(first: FirstReason): string {
  switch (first.kind) {
    case 'listed':
      return `${first.path} has ${quoted(first.word)}, which states.${first.status} lists`;
    case 'other':
      return `${first.path} has ${quoted(first.word)}, which no status lists, and '*' stands in states.${first.status}`;
    case 'unknown':
      return `${first.path} has ${quoted(first.word)}, which no status lists`;
    case 'absent':
      return `no path of run.status finds a value, and absent is ${first.status}`;
  }
}

function secondText({ said, word, path }: SecondReason): string {
  const has = `also: ${path ?? ''} has ${quoted(word ?? '')}`;
  switch (said.kind) {
    case 'status':
      return said.word === null
        ? `${has}, and '*' stands in also.states.${said.status}`
        : `${has}, which also.states.${said.status} lists`;
    case 'unknown_word':
      return `${has}, which no status of also.states lists, and changes nothing`;
    case 'no_word':
      return 'also: no path of also.status finds a value, which changes nothing';
    case 'no_id':
      return 'also: also.id finds nothing, so that the answer is of no run and changes nothing';
    case 'another_run':
      return 'also: the answer is about another run, and changes nothing';
  }
}

/**
 * What to do where the source refuses or does not answer.
 * @param accepted what it is to be given, before the key of the configuration
 */
export function refusalHints(
  result: PollResult,
  accepted: string,
  { key, name }: { key: string; name: string },
): string[] {
  switch (result.kind) {
    case 'unauthorized':
    case 'forbidden':
      return [`give it ${accepted} ${key}`];
    case 'unavailable':
      return [`see that sources.${name}.base_url is right, and can be reached from here`];
    case 'run':
    case 'not_found':
    case 'rejected':
    case 'rate_limited':
    case 'invalid_response':
      return [];
  }
}

/** What is to be mended in the mapping. */
export function mappingHints(
  { name, source }: { name: string; source: HttpSourceConfig },
  trial: Trial,
): string[] {
  const { result, first, reads } = trial;
  const at = `sources.${name}`;
  if (result.kind === 'run') {
    return [
      ...(first?.kind === 'unknown' ? [unknownWord(first.word, source, at)] : []),
      ...unreadHints(result.run, reads, at),
    ];
  }
  if (result.kind === 'not_found') return missingHints(source, at);
  if (result.kind !== 'invalid_response') return [];
  const last = reads.at(-1);
  if (last === undefined || last.values.length === 0) {
    return [
      `see that ${at}.base_url and ${at}.${last?.of ?? 'run'}.get are those of the API, not of its pages`,
    ];
  }
  return first === null ? [unreadAnswer(last.values, at)] : [];
}

function missingHints({ probe, list }: HttpSourceConfig, at: string): string[] {
  const documented = `see that the id is right, and that ${at}.run.get is what the API documents`;
  if (probe !== undefined || list !== undefined) return [documented];
  const blind = `set ${at}.probe: without one, a run that is not found is gone only once the source has answered for another run`;
  return [documented, blind];
}

function unknownWord(word: string, { states }: HttpSourceConfig, at: string): string {
  const words = Object.values(states).flat();
  const near = suggest(word, words);
  const meant = `add it to the list of the status that it means, in ${at}.states`;
  return `${quoted(word)} stands in no list: ${meant}${didYouMean(near)}`;
}

/** A count of attempts; 0 is none. */
const COUNTER = /^[1-9]\d*$/;

function unreadAnswer(values: TriedRead['values'], at: string): string {
  const id = values.find(({ key }) => key === 'run.id');
  if (id?.value === null) {
    return `correct ${at}.run.id: it is to lead to the id of the run in the answer`;
  }
  const attempt = values.find(({ key }) => key === 'run.attempt');
  if (attempt !== undefined && !COUNTER.test(attempt.value ?? '')) {
    return `correct ${at}.run.attempt: it is to lead to a count of attempts, from 1`;
  }
  const hasWord = values.some(({ key, value }) => key.startsWith('run.status') && value !== null);
  if (hasWord) {
    return `give the id of the run that the answer is about, or correct ${at}.run.id: it finds ${quoted(id?.value ?? '')}`;
  }
  return `correct ${at}.run.status, or set ${at}.absent to what a run is in whose answer none of them finds a value`;
}

const TIMES = { created: 'created_at', started: 'started_at', finished: 'finished_at' } as const;

/** Paths that found a value which is not what the field takes. */
function unreadHints(run: RunSnapshot, reads: Trial['reads'], at: string): string[] {
  const values = reads[0]?.values ?? [];
  const found = (key: string) => values.find((one) => one.key === key)?.value ?? null;
  const times = Object.entries(TIMES).flatMap(([key, field]) => {
    const value = found(`run.${key}`);
    const isLater = key === 'finished' && !isTerminalStatus(run.status);
    // After a wait that only also showed, the time is that of the interrupt.
    if (value === null || run[field] !== null || isLater) return [];
    return [
      `${at}.run.${key} finds ${quoted(value)}, which is no time: expected ISO 8601, or seconds or milliseconds since 1970`,
    ];
  });
  const progress = values.filter(({ key }) => key.startsWith('run.progress'));
  const isUnread = run.progress === null && progress.some(({ value }) => value !== null);
  const shown = progress.map(({ value }) => (value === null ? 'nothing' : quoted(value)));
  return [
    ...times,
    ...(isUnread
      ? [
          `${at}.run.progress finds ${shown.join(' and ')}: expected a number from 0 to 100, or what is done and a total above 0`,
        ]
      : []),
  ];
}
