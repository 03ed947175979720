import { joinedByEndpoint, SEVERITY_OF, type AttentionItem } from '../../core/attention.ts';
import type { DeliveryState } from '../../core/delivery/delivery.ts';
import { isOutstanding } from '../../core/delivery/state.ts';
import { longPause, type EndpointState } from '../../core/delivery/endpoint-state.ts';
import type { Process } from '../../process.ts';
import type { Backlog, DeliveryCounts } from '../../redis/stores/delivery-store.ts';
import { healthOf, pauseText, shownAlike, type Shown } from '../endpoints.ts';
import { MOST_ITEMS, NAMED_MS, type Found } from './found.ts';

/** Endpoints that are not well, with the deliveries that wait for them or were given up. */
export class TroubledEndpoints {
  private readonly dead: DeadDeliveries;

  constructor(private readonly process: Process) {
    this.dead = new DeadDeliveries(process);
  }

  async find(): Promise<Found> {
    const { endpoints, now, stores } = this.process;
    const { deliveries, endpointStates } = stores;
    const [counts, configured, webhooks] = await Promise.all([
      deliveries.counts(),
      endpointStates.inTrouble(endpoints.names),
      endpointStates.unwell(MOST_ITEMS),
    ]);
    const [dead, parked] = await Promise.all([
      this.dead.of(holding('dead', counts)),
      Promise.all(holding('parked', counts).map(([name]) => deliveries.backlog('parked', name, 0))),
    ]);
    const items = joinedByEndpoint([
      ...shownAlike([...configured, ...webhooks]).flatMap((one) =>
        endpointItem(one, counts, now()),
      ),
      ...unwrittenItems(this.process, counts),
      ...backlogItems('parked', parked),
      ...backlogItems('dead', dead),
    ]);
    return { items, isCapped: [...dead, ...parked].some(({ isCapped }) => isCapped) };
  }
}

/** Endpoints with deliveries in a state, and how many they have. */
function holding(state: DeliveryState, { byEndpoint }: DeliveryCounts) {
  const counts = [...byEndpoint].map(([endpoint, own]) => [endpoint, own[state]] as const);
  return counts.filter(([, count]) => count > 0).slice(0, MOST_ITEMS);
}

function backlogItems(kind: 'dead' | 'parked', found: readonly Backlog[]): AttentionItem[] {
  return found.flatMap(({ endpoint, count, oldest }) => {
    if (oldest === null) return [];
    const message = textOf(kind, endpoint, count);
    const deliveries = { waiting: 0, dead: 0, [kind === 'dead' ? kind : 'waiting']: count };
    return [
      { kind, severity: SEVERITY_OF[kind], count, since: oldest, message, endpoint, deliveries },
    ];
  });
}

/** After this time the dead deliveries of an endpoint are counted again, ms. */
const RECOUNT_MS = 60_000;

/** The dead deliveries of a week, and how many there were of whatever age when these were counted. */
interface Counted {
  week: Backlog;
  all: number;
  at: number;
}

/**
 * Dead deliveries by endpoint, of a week. Which of all that are kept are of that week changes slowly, and
 * takes many reads where there are thousands. So an answer counts those of one endpoint again, after a
 * minute. In between, the counter of all says how many have died or were sent again.
 */
class DeadDeliveries {
  private counted = new Map<string, Counted>();

  constructor(private readonly process: Process) {}

  /** @param held how many each endpoint has, of whatever age */
  async of(held: readonly (readonly [endpoint: string, all: number])[]): Promise<Backlog[]> {
    const known = held.map(([endpoint]) => this.counted.get(endpoint));
    const oldest = Math.min(...known.map((one) => one?.at ?? Infinity));
    const isOld = this.process.now() - oldest > RECOUNT_MS;
    const again = isOld ? known.findIndex((one) => one?.at === oldest) : -1;
    const found = await Promise.all(
      held.map(async ([endpoint, all], at): Promise<Counted> => {
        const one = known[at];
        const hasFirst = one?.week.oldest === null && all > one.all;
        return one === undefined || hasFirst || at === again ? this.count(endpoint, all) : one;
      }),
    );
    this.counted = new Map(held.map(([endpoint], at) => [endpoint, found[at] as Counted]));
    return found.map((one, at) => weekNow(one, held[at]?.[1] ?? 0));
  }

  private async count(endpoint: string, all: number): Promise<Counted> {
    const { now, stores } = this.process;
    const week = await stores.deliveries.backlog('dead', endpoint, now() - NAMED_MS);
    return { week, all, at: now() };
  }
}

function weekNow({ week, all: before }: Counted, all: number): Backlog {
  if (week.isCapped) return week;
  const count = Math.max(0, week.count + all - before);
  return { ...week, count, oldest: count === 0 ? null : week.oldest };
}

function textOf(state: DeliveryState, endpoint: string, count: number): string {
  const some = count === 1 ? '1 delivery' : `${count.toLocaleString('en')} deliveries`;
  return isOutstanding(state)
    ? `${some} to ${endpoint} ${count === 1 ? 'waits' : 'wait'} until it takes them again`
    : `${some} to ${endpoint} ${count === 1 ? 'was' : 'were'} given up; redeliver what still matters`;
}

/** An endpoint that gets nothing, for another reason than a user's pause. */
function endpointItem(
  { name: endpoint, state }: Shown,
  { byEndpoint }: DeliveryCounts,
  now: number,
): AttentionItem[] {
  const trouble = endpointTrouble(endpoint, state, now);
  if (trouble === null) return [];
  const { pending = 0, parked = 0 } = byEndpoint.get(endpoint) ?? {};
  return [endpointEntry(endpoint, trouble, pending + parked)];
}

function endpointEntry(
  endpoint: string,
  { since, message }: Pick<AttentionItem, 'since' | 'message'>,
  waiting: number,
): AttentionItem {
  const deliveries = { waiting, dead: 0 };
  const { endpoint: severity } = SEVERITY_OF;
  return { kind: 'endpoint', severity, count: waiting, since, message, endpoint, deliveries };
}

function endpointTrouble(endpoint: string, state: EndpointState, now: number) {
  const { disabled } = state;
  const health = healthOf(state);
  if (health === 'failing' || health === 'disabled') {
    const message =
      disabled === null
        ? `most attempts at ${endpoint} fail; it is probed`
        : `${endpoint} is disabled: ${WHY_DISABLED[disabled.reason]}; resume it once it is well`;
    return { since: state.failingSince ?? disabled?.at ?? now, message };
  }
  const asked = longPause(state, now);
  if (asked === null) return null;
  const cure = `lift it with \`runwatch endpoints retry ${endpoint}\` if it asked in error`;
  return { since: asked.since, message: `${pauseText(endpoint, asked.until)}; ${cure}` };
}

/** Endpoints that write to the log of this process, while it cannot be written. */
function unwrittenItems(
  { endpoints, eventLog }: Process,
  { byEndpoint }: DeliveryCounts,
): AttentionItem[] {
  const trouble = eventLog.trouble();
  if (trouble === null) return [];
  return endpoints.names.filter(endpoints.isLog).map((endpoint) => {
    const message = `${endpoint} waits: this process cannot write its log (${trouble.reason})`;
    const about = { since: trouble.since, message };
    return endpointEntry(endpoint, about, byEndpoint.get(endpoint)?.pending ?? 0);
  });
}

const WHY_DISABLED = {
  gone: 'it answered 410',
  failing: 'nothing reached it for days',
} as const;
