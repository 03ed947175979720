import { mapInChunks } from '../core/arrays.ts';
import type { DeliveryState } from '../core/delivery/delivery.ts';
import { shownReceiver, type Receiver } from '../core/delivery/receiver.ts';
import type { Watch, WebhookFilter, WebhookSubscription } from '../core/watch/watch.ts';
import type { Process } from '../process.ts';
import { endWebhooks } from '../watches/end.ts';
import { healthViewOf, leastWell, type EndpointHealth } from './endpoints.ts';

/** Webhooks of active watches that are shown as one URL. */
export interface WebhookView {
  /** Masked. */
  url: string;
  sources: string[];
  /** The tokens that registered them. */
  registeredBy: string[];
  /** How many active watches notify it. */
  watches: number;
  /** Deliveries by state. */
  counts: Record<DeliveryState, number>;
  health: EndpointHealth;
}

/** Watches read at a time. */
const CHUNK = 200;

/** The most watches that one list is made of: the newest. */
const MOST_WATCHES = 10_000;

/** The most webhooks of one list. */
const MOST_WEBHOOKS = 200;

/** How many webhooks are counted, and watches changed, at a time. */
const AT_ONCE = 20;

/** Shows and ends the webhooks that came with watches. */
export class WebhookService {
  constructor(private readonly process: Process) {}

  /** Of the newest active watches; `more` where there are others. */
  async list(filter: WebhookFilter): Promise<{ webhooks: WebhookView[]; more: boolean }> {
    const { gathered, more } = await this.gather(filter);
    const webhooks = await mapInChunks(gathered, AT_ONCE, (one) => this.viewOf(one, filter));
    return { webhooks, more };
  }

  /** Ends them, unless another token wants them too. @returns how many have ended, of all watches */
  async end(filter: WebhookFilter): Promise<number> {
    const { process } = this;
    let count = 0;
    for await (const watches of process.stores.watches.withWebhooks(filter, CHUNK)) {
      const results = await mapInChunks(watches, AT_ONCE, (watch) =>
        endWebhooks(process, watch, filter.token),
      );
      for (const result of results) {
        if (result === null) continue;
        process.watchNotes.changed(result.watch);
        count += result.ended;
      }
    }
    return count;
  }

  /** The webhooks of the newest watches, by the URL as it is shown. */
  private async gather(filter: WebhookFilter) {
    const byUrl = new Map<string, Gathered>();
    let [read, more] = [0, false];
    for await (const chunk of this.process.stores.watches.withWebhooks(filter, CHUNK)) {
      if (read >= MOST_WATCHES) {
        more = true;
        break;
      }
      read += chunk.length;
      for (const watch of chunk) if (!add(byUrl, watch, filter.token)) more = true;
    }
    return { gathered: [...byUrl.values()], more };
  }

  private async viewOf(
    { url, receivers, sources, registeredBy, watches }: Gathered,
    filter: WebhookFilter,
  ): Promise<WebhookView> {
    const { deliveries, endpointStates } = this.process.stores;
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
}

/** A {@link WebhookView} in the making. */
interface Gathered {
  url: string;
  receivers: Set<Receiver>;
  sources: Set<string>;
  registeredBy: Set<string>;
  watches: number;
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
