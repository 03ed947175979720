import { mapInChunks } from '../../core/arrays.ts';
import { shownReceiver, type Receiver } from '../../core/delivery/receiver.ts';
import type { Watch, WebhookSubscription } from '../../core/watch/watch.ts';
import type { WebhookFilter, WebhookService, WebhookView } from '../../http/routes/webhooks.ts';
import type { Process } from '../../process.ts';
import { endWebhooks } from '../../watches/end.ts';
import type { DeliveryStore } from '../../redis/stores/delivery-store.ts';
import type { EndpointStore } from '../../redis/stores/endpoint-store.ts';
import type { WatchStore } from '../../redis/stores/watch-store.ts';
import type { WatchNotes } from '../known-watches.ts';
import { healthViewOf, leastWell } from './endpoints.ts';

/** Watches read at a time. */
const CHUNK = 200;

/** The most watches that one list is made of: the newest. */
const MOST_WATCHES = 10_000;

/** The most webhooks of one list. */
const MOST_WEBHOOKS = 200;

/** Webhooks whose deliveries are counted, and watches that are changed, at a time. */
const AT_ONCE = 20;

interface WebhookServiceOptions {
  process: Process;
  watches: Pick<WatchStore, 'withWebhooks'>;
  deliveries: Pick<DeliveryStore, 'countsWithin'>;
  endpointStates: Pick<EndpointStore, 'getMany'>;
  notes: Pick<WatchNotes, 'changed'>;
}

/** Webhooks of active watches that are shown as one URL. */
interface Gathered {
  url: string;
  receivers: Set<Receiver>;
  sources: Set<string>;
  registeredBy: Set<string>;
  watches: number;
}

export function createWebhookService(options: WebhookServiceOptions): WebhookService {
  return {
    async list(filter) {
      const { gathered, more } = await gather(options.watches, filter);
      return {
        webhooks: await mapInChunks(gathered, AT_ONCE, (one) => viewOf(options, one, filter)),
        more,
      };
    },
    async end(filter) {
      let count = 0;
      for await (const watches of options.watches.withWebhooks(filter, CHUNK)) {
        const results = await mapInChunks(watches, AT_ONCE, (watch) =>
          endWebhooks(options.process, watch, filter.token),
        );
        for (const result of results) {
          if (result === null) continue;
          options.notes.changed(result.watch);
          count += result.ended;
        }
      }
      return count;
    },
  };
}

/** The webhooks of the newest watches, by the URL as it is shown. */
async function gather(watches: WebhookServiceOptions['watches'], filter: WebhookFilter) {
  const byUrl = new Map<string, Gathered>();
  let [read, more] = [0, false];
  for await (const chunk of watches.withWebhooks(filter, CHUNK)) {
    if (read >= MOST_WATCHES) {
      more = true;
      break;
    }
    read += chunk.length;
    for (const watch of chunk) if (!add(byUrl, watch, filter.token)) more = true;
  }
  return { gathered: [...byUrl.values()], more };
}

/** @returns false where a webhook was left out, since there are too many */
function add(byUrl: Map<string, Gathered>, watch: Watch, token: string | undefined): boolean {
  let isWhole = true;
  for (const webhook of watch.subscriptions.filter((one) => isMeant(one, token))) {
    const url = shownReceiver(webhook.receiver);
    const known = byUrl.get(url);
    if (known === undefined && byUrl.size === MOST_WEBHOOKS) {
      isWhole = false;
      continue;
    }
    const one = known ?? newlyGathered(url);
    byUrl.set(url, one);
    one.receivers.add(webhook.receiver);
    one.sources.add(watch.source);
    for (const name of webhook.registeredBy ?? []) one.registeredBy.add(name);
    one.watches += 1;
  }
  return isWhole;
}

function isMeant(
  one: Watch['subscriptions'][number],
  token: string | undefined,
): one is WebhookSubscription {
  if (one.kind === 'endpoint') return false;
  return token === undefined || one.registeredBy?.includes(token) === true;
}

function newlyGathered(url: string): Gathered {
  return { url, receivers: new Set(), sources: new Set(), registeredBy: new Set(), watches: 0 };
}

async function viewOf(
  { deliveries, endpointStates }: WebhookServiceOptions,
  { url, receivers, sources, registeredBy, watches }: Gathered,
  filter: WebhookFilter,
): Promise<WebhookView> {
  const [counts, states] = await Promise.all([
    deliveries.countsWithin(filter.sources, url),
    endpointStates.getMany([...receivers]),
  ]);
  return {
    url,
    sources: [...sources].sort(),
    registeredBy: [...registeredBy].sort(),
    watches,
    counts,
    health: healthViewOf(leastWell(states.map(({ state }) => state))),
  };
}
