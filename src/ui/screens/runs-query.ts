import type { EventView, WatchQuery } from '../../client/types.ts';
import type { Watch } from '../api/types.ts';
import { filtersIn, isAmong, type Filter, type Filters } from '../parts/filters.ts';
import { workflowText } from '../parts/workflow-names.ts';

/** A run with its watch, as an event or a row says it. */
interface Subject {
  state: Watch['state'];
  status: string | undefined;
  workflow: string | null | undefined;
  source: string;
}

interface RunFilter extends Filter<Subject> {
  /** True where a row may pass no more once its run has changed. */
  mayChange?: true;
  /** Its text for users; empty for none. */
  says: (text: string) => string;
}

const anyOf = (text: string) => text.replaceAll(',', ' or ');

/** The filters of the runs. */
export const RUN_FILTERS: Filters<WatchQuery, RunFilter> = {
  status: {
    name: 'status',
    narrows: true,
    hasControl: true,
    mayChange: true,
    admits: (text, { status }) => isAmong(text, status),
    says: anyOf,
  },
  state: {
    name: 'state',
    narrows: true,
    hasControl: true,
    mayChange: true,
    admits: (text, { state }) => isAmong(text, state),
    says: anyOf,
  },
  workflow_id: {
    name: 'workflow',
    narrows: true,
    hasControl: true,
    admits: (text, { workflow }) => isAmong(text, workflow),
    says: (text) => `of ${workflowText(text)}`,
  },
  source: {
    name: 'source',
    narrows: true,
    admits: (text, { source }) => isAmong(text, source),
    says: (text) => `of the source ${text}`,
  },
  // No event of a run says which batches it is in.
  batch: {
    name: 'batch',
    narrows: true,
    admits: () => false,
    says: (text) => `in the batch ${text}`,
  },
  since: {
    name: 'since',
    narrows: true,
    hasControl: true,
    admits: () => true,
    says: (text) => `since ${text}`,
  },
  until: {
    name: 'until',
    narrows: true,
    hasControl: true,
    admits: () => false,
    says: (text) => `until ${text}`,
  },
  order: {
    name: 'order',
    usual: 'changed',
    narrows: false,
    hasControl: true,
    admits: () => true,
    says: () => '',
  },
  // The words that name no metadata are looked for in the rows that were read.
  metadata: {
    name: 'q',
    read: metadataOf,
    narrows: true,
    hasControl: true,
    admits: () => false,
    says: (text) => `with “${text}”`,
  },
};

/** What an event says of its run. */
export function subjectOf({ type, data }: EventView): Subject {
  const { run, watch } = data;
  const state = STATES[type] ?? 'active';
  return { state, status: run?.status, workflow: run?.workflow_id, source: watch.source };
}

/** A row keeps its place when its run changes; it is only shown as past. */
export function stillMatches({ state, run, source }: Watch, address: URLSearchParams): boolean {
  const subject = { state, status: run?.status, workflow: run?.workflow_id, source };
  return filtersIn(RUN_FILTERS, address).every(
    ({ filter, text }) => filter.mayChange !== true || filter.admits(text, subject),
  );
}

/** The state of a watch after an event, where that has changed it. */
export const STATES: Readonly<Record<string, Watch['state']>> = {
  'run.completed': 'finished',
  'run.failed': 'finished',
  'run.stopped': 'finished',
  'run.gone': 'gone',
  'watch.expired': 'expired',
};

const PAIR = /^([^=\s]{1,128})=(\S+)$/;

/** The words of a filter that name metadata, as the API takes them. */
function metadataOf(text: string): Record<string, string> {
  const pairs = text.split(/\s+/).flatMap((word) => {
    const match = PAIR.exec(word);
    return match === null ? [] : [[match[1], match[2]] as const];
  });
  return Object.fromEntries(pairs);
}

/** The runs that have all the other words of a filter in their id, workflow or metadata. */
export function matchingText(watches: readonly Watch[], text: string): readonly Watch[] {
  const words = wordsOf(text);
  if (words.length === 0) return watches;
  return watches.filter(({ run_id: id, run, workflow_name: name, metadata }) => {
    const hay = [id, run?.workflow_id, name, ...Object.values(metadata)].join(' ').toLowerCase();
    return words.every((word) => hay.includes(word));
  });
}

/** The words of a filter that name no metadata. */
export function wordsOf(text: string): string[] {
  return text
    .toLowerCase()
    .split(/\s+/)
    .filter((word) => word !== '' && !PAIR.test(word));
}

/** The filters of the address in words, such as `failed, of invoices, since 1h, with “q3”`; empty for none. */
export function filtersText(address: URLSearchParams): string {
  const words = filtersIn(RUN_FILTERS, address).map(({ filter, text }) => filter.says(text));
  return words.filter((word) => word !== '').join(', ');
}
