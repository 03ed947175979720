import type { z } from 'zod';
import { shownSuppressor } from '../alert/event.ts';
import { FAILURES } from '../core/alert/failures.ts';
import { sum } from '../core/arrays.ts';
import {
  ATTENTION_KINDS,
  byWeight,
  WATCH_ATTENTION,
  type AttentionItem,
  type AttentionKind,
} from '../core/attention.ts';
import { isoTime } from '../core/event/event.ts';
import type { Complete } from '../core/records.ts';
import type { Daemon } from '../daemon.ts';
import { alertsFound, coveredBy, failuresFound, openAlerts } from './attention/alerts.ts';
import { unclosedBatches } from './attention/batches.ts';
import { TroubledEndpoints } from './attention/endpoints.ts';
import { MOST_ITEMS, type AttentionQuery, type Found } from './attention/found.ts';
import { runsFound, runsOf } from './attention/runs.ts';
import { sourcesOf } from './attention/sources.ts';
import { sourcesMeant } from './auth.ts';
import { presentAcknowledgement } from './present.ts';
import type { Requests, Slice } from './routing.ts';
import type { attentionPage } from './schemas/attention.ts';
import type { Routes } from './schemas/routes.ts';

/** What needs a person, an entry for each cause. */
export interface Attention {
  /** The first 200, the heaviest first. */
  items: AttentionItem[];
  /** Entries by kind. */
  counts: Record<AttentionKind, number>;
  /** There are more than `counts` say. */
  isCapped: boolean;
}

type Own = Routes['attention'];
type AttentionPage = z.output<typeof attentionPage>;

/** Gathers what needs a person, from indexes and from what the daemon watches anyway. */
export class AttentionService implements Slice<Own> {
  private readonly endpoints: TroubledEndpoints;

  constructor(private readonly daemon: Daemon) {
    this.endpoints = new TroubledEndpoints(daemon);
  }

  async list({ query, token }: Requests<Own>['list']): Promise<AttentionPage> {
    const { acknowledged, ...rest } = query;
    rest satisfies Record<string, never>;
    const asked: Complete<AttentionQuery> = {
      withAcknowledged: acknowledged === 'include',
      sources: sourcesMeant(token).sources,
    };
    const { items, counts, isCapped } = await this.find(asked);
    const total = sum(Object.values(counts));
    return { data: items.map(presentItem), counts, total, total_capped: isCapped };
  }

  async find(query: AttentionQuery): Promise<Attention> {
    const [alerts, runs, waiting, sources, batches] = await Promise.all([
      openAlerts(this.daemon, {}, query),
      Promise.all(WATCH_ATTENTION.map((kind) => runsOf(this.daemon, kind, query))),
      // Deliveries and endpoints are those of all sources together.
      query.sources === undefined ? this.endpoints.find() : NONE,
      sourcesOf(this.daemon, query),
      unclosedBatches(this.daemon, query),
    ]);
    const covered = coveredBy(alerts.open, this.daemon.alertRules);
    const failures = await openAlerts(this.daemon, { rule: FAILURES }, query);
    const uncovered = failures.open.filter(({ open }) => !covered.hasFailures(open));
    return joined([
      alertsFound(this.daemon, alerts, query),
      failuresFound(this.daemon, { ...failures, open: uncovered }, query),
      ...(await Promise.all(
        runs.map((one) =>
          runsFound(this.daemon, { ...one, runs: one.runs.filter((run) => !covered.hasRun(run)) }),
        ),
      )),
      waiting,
      sources,
      batches,
    ]);
  }
}

const NONE: Found = { items: [], isCapped: false };

/** An entry as the API shows it. */
function presentItem(item: AttentionItem): AttentionPage['data'][number] {
  const { kind, severity, count, since, message, source, endpoint, rule } = item;
  const given = {
    kind,
    severity,
    count,
    since: isoTime(since),
    message,
    run_id: item.runId,
    source,
    workflow_id: item.workflowId,
    workflow_name: item.workflowName,
    run_url: item.runUrl,
    runs: item.runs?.map(({ runId, runUrl, ...run }) => ({
      run_id: runId,
      since: isoTime(run.since),
      run_url: runUrl,
    })),
    endpoint,
    deliveries: item.deliveries,
    alert_id: item.alertId,
    rule,
    batch: item.batch,
    acknowledged: item.acknowledged && presentAcknowledgement(item.acknowledged),
    suppressed_by: item.suppressedBy?.map(shownSuppressor),
  };
  const entries = Object.entries(given).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as AttentionPage['data'][number];
}

function joined(found: readonly Found[]): Attention {
  const items = found.flatMap((one) => one.items).sort(byWeight);
  const counts = Object.fromEntries(ATTENTION_KINDS.map((kind) => [kind, 0])) as Record<
    AttentionKind,
    number
  >;
  for (const { kind } of items) counts[kind] += 1;
  return {
    items: items.slice(0, MOST_ITEMS),
    counts,
    isCapped: found.some(({ isCapped }) => isCapped),
  };
}
