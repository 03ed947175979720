import type { z } from 'zod';
import type { TokenConfig } from '../config/schema.ts';
import { endWebhooksOfBatch } from '../batches/change.ts';
import { mapInChunks, sum } from '../core/arrays.ts';
import type { Batch } from '../core/batch.ts';
import { shownReceiver, type Receiver } from '../core/delivery/receiver.ts';
import type { Complete } from '../core/records.ts';
import type { Subscription, WebhookFilter, WebhookSubscription } from '../core/watch/watch.ts';
import type { Daemon } from '../daemon.ts';
import { isOfSources } from '../redis/stores/batch-store.ts';
import { endWebhooks } from '../watches/end.ts';
import { auditOf, type Acting } from './audit.ts';
import { sourcesMeant } from './auth.ts';
import { leastWell, presentHealth } from './endpoints.ts';
import { invalid } from './problem.ts';
import type { Requests, Slice } from './routing.ts';
import type { Routes } from './schemas/routes.ts';
import type { webhookList } from './schemas/watch-webhook.ts';
import { refuseUnknownSource } from './watches.ts';

type Own = Routes['webhooks'];
type WebhookView = z.output<typeof webhookList>['data'][number];

/** Watches read at a time. */
const CHUNK = 200;

/** The most watches that one list is made of: the newest. */
const MOST_WATCHES = 10_000;

/** The most webhooks of one list. */
const MOST_WEBHOOKS = 200;

/** How many webhooks are counted, and watches changed, at a time. */
const AT_ONCE = 20;

/** Shows and ends the webhooks that came with watches and batches. */
export class WebhookService implements Slice<Own> {
  constructor(private readonly daemon: Daemon) {}

  /** Of batches that have not completed, and of the newest active watches; `more` where there are others. */
  async list({ query, token }: Requests<Own>['list']) {
    const filter = filterOf(query, token);
    const { gathered, more } = await this.gather(filter);
    if (gathered.length === 0) await refuseUnknownSource(this.daemon, query.source, token);
    return { data: await mapInChunks(gathered, AT_ONCE, (one) => this.viewOf(one, filter)), more };
  }

  /** Ends them, unless another token wants them too, and counts them, of all watches and batches. */
  async end(request: Acting & Requests<Own>['end']) {
    const { query, token } = request;
    if (query.token === undefined && query.source === undefined) {
      throw invalid('query.token', 'name the token or the source whose webhooks are to end');
    }
    const filter = filterOf(query, token);
    const { daemon } = this;
    await refuseUnknownSource(daemon, query.source, token);
    const { sources } = filter;
    const act = { action: 'webhooks.end', target: '*', sources, details: query } as const;
    await daemon.stores.audit.append(auditOf(request, daemon.now(), act));
    let count = 0;
    for await (const watches of daemon.stores.watches.withWebhooks(filter, CHUNK)) {
      const results = await mapInChunks(watches, AT_ONCE, (watch) =>
        endWebhooks(daemon, watch, filter.token),
      );
      for (const result of results) {
        if (result === null) continue;
        daemon.watchNotes.changed(result.watch);
        count += result.ended;
      }
    }
    for await (const batches of daemon.stores.batches.withWebhooks(CHUNK)) {
      const meant = batches.filter((batch) => isOfSources(batch, sources));
      const ended = await mapInChunks(meant, AT_ONCE, ({ id }) =>
        endWebhooksOfBatch(daemon, id, filter.token),
      );
      count += sum(ended);
    }
    return { count };
  }

  /** The webhooks of batches and of the newest watches, by the URL as it is shown. */
  private async gather(filter: WebhookFilter) {
    const { batches, watches } = this.daemon.stores;
    const byUrl = new Map<string, Gathered>();
    let [read, more] = [0, false];
    for await (const chunk of batches.withWebhooks(CHUNK)) {
      for (const batch of chunk.filter((one) => isOfSources(one, filter.sources))) {
        if (!add(byUrl, holderOf(batch), filter.token)) more = true;
      }
    }
    for await (const chunk of watches.withWebhooks(filter, CHUNK)) {
      if (read >= MOST_WATCHES) {
        more = true;
        break;
      }
      read += chunk.length;
      for (const { source, subscriptions } of chunk) {
        const holder = { is: 'watches' as const, sources: [source], subscriptions };
        if (!add(byUrl, holder, filter.token)) more = true;
      }
    }
    return { gathered: [...byUrl.values()], more };
  }

  private async viewOf(
    { url, receivers, sources, registeredBy, watches, batches }: Gathered,
    filter: WebhookFilter,
  ): Promise<WebhookView> {
    const { deliveries, endpointStates } = this.daemon.stores;
    const [counts, states] = await Promise.all([
      deliveries.countsWithin(filter.sources, url),
      endpointStates.getMany([...receivers]),
    ]);
    return {
      url,
      sources: [...sources].sort(),
      registered_by: [...registeredBy].sort(),
      watches,
      batches,
      counts,
      health: presentHealth(leastWell(states.map(({ state }) => state))),
    };
  }
}

function filterOf(
  { token, source, ...rest }: Requests<Own>['list']['query'],
  asking: TokenConfig | null,
): Complete<WebhookFilter> {
  rest satisfies Record<string, never>;
  return { token, sources: sourcesMeant(asking, source).sources };
}

/** A {@link WebhookView} in the making. */
interface Gathered {
  url: string;
  receivers: Set<Receiver>;
  sources: Set<string>;
  registeredBy: Set<string>;
  watches: number;
  batches: number;
}

/** What notifies webhooks. */
interface Holder {
  is: 'watches' | 'batches';
  sources: readonly string[];
  subscriptions: readonly Subscription[];
}

function holderOf({ sources, subscriptions }: Batch): Holder {
  return { is: 'batches', sources: sources ?? [], subscriptions: subscriptions ?? [] };
}

/** @returns false where a webhook was left out, since there are too many */
function add(
  byUrl: Map<string, Gathered>,
  { is, sources, subscriptions }: Holder,
  token: string | undefined,
): boolean {
  let isWhole = true;
  for (const webhook of subscriptions.filter((one) => isMeant(one, token))) {
    const url = shownReceiver(webhook.receiver);
    const known = byUrl.get(url);
    if (known === undefined && byUrl.size === MOST_WEBHOOKS) {
      isWhole = false;
      continue;
    }
    const one = known ?? newlyGathered(url);
    byUrl.set(url, one);
    one.receivers.add(webhook.receiver);
    for (const source of sources) one.sources.add(source);
    for (const name of webhook.registeredBy ?? []) one.registeredBy.add(name);
    one[is] += 1;
  }
  return isWhole;
}

function isMeant(one: Subscription, token: string | undefined): one is WebhookSubscription {
  if (one.kind === 'endpoint') return false;
  return token === undefined || one.registeredBy?.includes(token) === true;
}

function newlyGathered(url: string): Gathered {
  const [receivers, sources, registeredBy] = [
    new Set<Receiver>(),
    new Set<string>(),
    new Set<string>(),
  ];
  return { url, receivers, sources, registeredBy, watches: 0, batches: 0 };
}
