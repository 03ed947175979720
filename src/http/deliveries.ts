import type { FastifyReply, FastifyRequest } from 'fastify';
import type { z } from 'zod';
import type { TokenConfig } from '../config/schema.ts';
import type { AuditRecord } from '../core/audit.ts';
import {
  sourcesOfDelivery,
  type Attempt,
  type Delivery,
  type DeliveryFilter,
} from '../core/delivery/delivery.ts';
import { RunwatchError } from '../core/errors.ts';
import { isoTime } from '../core/event/event.ts';
import type { CountedPage } from '../core/page.ts';
import type { Complete } from '../core/records.ts';
import { momentOf, withMoments, type WhenRange } from '../core/time.ts';
import type { Deliverer } from '../deliver/deliverer.ts';
import type { RedeliverRange } from '../deliver/replay.ts';
import { auditOf } from './audit.ts';
import { mayConcern, requireScope, sourcesMeant } from './auth.ts';
import { unknownEndpointText, type EndpointService, type EndpointView } from './endpoints.ts';
import { presentAttempt, presentCountedPage, presentDelivery } from './present.ts';
import { invalid, refusal } from './problem.ts';
import type { Requests, Slice } from './routing.ts';
import { runsMeant } from './runs-meant.ts';
import type { deliveryWithAttempts, namedDelivery } from './schemas/delivery.ts';
import type { Routes } from './schemas/routes.ts';

export interface DeliveryQuery extends Omit<DeliveryFilter, 'runs'>, WhenRange {
  /** The id of a run, of whichever source. */
  runId?: string | undefined;
  limit: number;
  cursor?: string | undefined;
}

/** What a delivery is about, by name. */
type Subject = Pick<z.output<typeof namedDelivery>, 'workflow_name' | 'alert_rule' | 'batch'>;

/** Shows deliveries, and makes them go out again. */
export class DeliveryService {
  constructor(private readonly deliverer: Deliverer) {}

  /** Milliseconds since the epoch. */
  now(): number {
    return this.deliverer.process.now();
  }

  /**
   * What the workflow of each delivery's run is called, which rule its alert is of, and what its batch is called;
   * null where it is about no run, alert or batch, or that is not known.
   */
  async subjectsOf(deliveries: readonly Delivery[]): Promise<Subject[]> {
    const { stores, linksOf } = this.deliverer.process;
    const alertIds = new Set(deliveries.flatMap(({ alertId }) => alertId ?? []));
    const batchIds = new Set(deliveries.flatMap(({ batchId }) => batchId ?? []));
    const [watches, alerts, batches] = await Promise.all([
      stores.watches.getManyBare([...deliveries]),
      stores.alerts.getMany([...alertIds]),
      stores.batches.readAll([...batchIds]),
    ]);
    const rules = new Map(alerts.map(({ id, rule }) => [id, rule]));
    const names = new Map(batches.map(({ batch }) => [batch.id, batch.name]));
    return deliveries.map(({ alertId = '', batchId = '' }, at) => {
      const stored = watches[at] ?? null;
      return {
        workflow_name: stored && linksOf(stored.watch).workflowName,
        alert_rule: rules.get(alertId) ?? null,
        batch: names.get(batchId) ?? null,
      };
    });
  }

  /** Newest first. Throws RunwatchError `invalid_cursor`, `stale_cursor`. */
  async list({ limit, cursor, runId, ...asked }: DeliveryQuery): Promise<CountedPage<Delivery>> {
    const { process } = this.deliverer;
    const runs = await runsMeant(process, { runId, sources: asked.sources });
    const filter = { ...asked, runs };
    return process.stores.deliveries.list(withMoments(filter, process.now()), { limit, cursor });
  }

  async get(id: string): Promise<{ delivery: Delivery; attempts: Attempt[] } | null> {
    const { deliveries } = this.deliverer.process.stores;
    const stored = await deliveries.get(id);
    if (stored === null) return null;
    return { delivery: stored.delivery, attempts: await deliveries.attempts(id) };
  }

  /**
   * The headers that attempts at times (ms since the epoch) send by the present configuration, without
   * secrets; null where its endpoint has none, or none is configured.
   */
  async headersOf(delivery: Delivery): Promise<((atMs: number) => Record<string, string>) | null> {
    const route = await this.deliverer.routes.routeOf(delivery).catch(unusable);
    const shown = route?.channel.shownHeaders;
    return shown === undefined ? null : (atMs) => shown(delivery.eventId, atMs);
  }

  /**
   * Delivers at once, with the same event id; one that waits is due now.
   * @param to another endpoint; the event gets a delivery of its own there
   * @returns the id of the delivery that goes out; null when there is none
   */
  redeliver(id: string, to?: string, audit: AuditRecord | null = null): Promise<string | null> {
    return this.deliverer.replay.one(id, to, audit);
  }

  /** {@link redeliver} for all that match; they go out at a limited rate. @returns how many */
  redeliverMany(range: RedeliverRange, audit: AuditRecord | null = null): Promise<number> {
    return this.deliverer.replay.request(range, audit);
  }
}

/** Without the secrets of an endpoint there are no headers to show. */
function unusable(error: unknown): null {
  if (error instanceof RunwatchError && !error.retriable) return null;
  throw error;
}

const NO_SUBJECT: Subject = { workflow_name: null, alert_rule: null, batch: null };

type Own = Routes['deliveries'];
type Asked = Requests<Own>;

/** Deliveries, as the API is asked for them and answers. */
export class DeliverySlice implements Slice<Own> {
  constructor(
    private readonly deliveries: DeliveryService,
    private readonly endpoints: Pick<EndpointService, 'list'>,
  ) {}

  async list({ query, token }: Asked['list']) {
    const page = await this.deliveries.list(insideOf(query, token));
    const subjects = await this.deliveries.subjectsOf(page.items);
    const items = page.items.map((delivery, at) => ({ delivery, subject: subjects[at] }));
    return presentCountedPage({ ...page, items }, ({ delivery, subject = NO_SUBJECT }) => ({
      ...presentDelivery(delivery),
      ...subject,
    }));
  }

  async get({ params: { id }, token }: Asked['get']) {
    const found = await this.deliveries.get(id);
    if (found === null || !mayShow(token, found.delivery)) throw unknownDelivery(id);
    const [subject = NO_SUBJECT] = await this.deliveries.subjectsOf([found.delivery]);
    const headersAt = await this.deliveries.headersOf(found.delivery);
    return { ...presentDeliveryWithAttempts(found, headersAt), ...subject };
  }

  async redeliver(request: FastifyRequest & Asked['redeliver'], reply: FastifyReply) {
    const { body, token } = request;
    const { id } = request.params;
    const to = body?.endpoint;
    requireScope(request, reply, to === undefined ? 'write' : 'admin');
    if (to !== undefined) await this.refuseUnconfigured('endpoint', to);
    const meant = await this.deliveries.get(id);
    if (meant === null || !mayShow(token, meant.delivery)) throw unknownDelivery(id);
    const act = {
      action: 'delivery.redeliver',
      target: id,
      sources: sourcesOfDelivery(meant.delivery),
      details: { to },
    } as const;
    const audit = auditOf(request, this.deliveries.now(), act);
    const again = await this.deliveries.redeliver(id, to, audit);
    const found = again === null ? null : await this.deliveries.get(again);
    if (found === null) throw unknownDelivery(id);
    const { eventId, state } = found.delivery;
    return { id: found.delivery.id, event_id: eventId, state };
  }

  async redeliverRange(request: FastifyRequest & Asked['redeliverRange'], reply: FastifyReply) {
    const { body, token } = request;
    requireScope(request, reply, body.to === undefined ? 'write' : 'admin');
    if (body.to !== undefined) await this.refuseUnconfigured('to', body.to);
    if (body.endpoint !== undefined) {
      refuseUnknown(body.endpoint, (await this.endpoints.list({ token })).data);
    }
    const range = rangeOf(body, token);
    const now = this.deliveries.now();
    const { endpoint = '*', sources, since, until, to } = range;
    const audit = auditOf(request, now, {
      action: 'deliveries.redeliver',
      target: endpoint,
      sources,
      details: {
        state: range.state?.join(','),
        since: since && isoTime(momentOf(since, now)),
        until: until && isoTime(momentOf(until, now)),
        to,
      },
    });
    return { count: await this.deliveries.redeliverMany(range, audit) };
  }

  /** Only what is configured can be sent something else's deliveries. */
  private async refuseUnconfigured(path: string, name: string): Promise<void> {
    const { data } = await this.endpoints.list({ token: null });
    const configured = data.filter(
      (view) => view.type !== 'unconfigured' && view.name !== view.url,
    );
    if (configured.some((view) => view.name === name)) return;
    throw invalid(path, unknownEndpointText(name, configured));
  }
}

/** Whether a token may see a delivery: it is good for all that this belongs to. */
function mayShow(token: TokenConfig | null, delivery: Delivery): boolean {
  const own = sourcesOfDelivery(delivery);
  return own.length === 0
    ? mayConcern(token, '')
    : own.every((source) => mayConcern(token, source));
}

/** A query in the words of the inside, all of it. */
function insideOf(
  query: Asked['list']['query'],
  token: TokenConfig | null,
): Complete<DeliveryQuery> {
  const { state, endpoint, run_id: runId, source, event_id: eventId, ...others } = query;
  const { since, until, limit, cursor, ...rest } = others;
  rest satisfies Record<string, never>;
  const { sources } = sourcesMeant(token, source);
  return { state, endpoint, sources, runId, eventId, since, until, limit, cursor };
}

/** {@link insideOf} of a range. */
function rangeOf(
  { endpoint, state, since, until, to, ...rest }: Asked['redeliverRange']['body'],
  token: TokenConfig | null,
): Complete<RedeliverRange> {
  rest satisfies Record<string, never>;
  return { endpoint, state, sources: sourcesMeant(token).sources, since, until, to };
}

function unknownDelivery(id: string): RunwatchError {
  return refusal('delivery_not_found', `there is no delivery ${id}`);
}

/** A name with a slip in it would match nothing, and pass for a range with nothing in it. */
function refuseUnknown(endpoint: string, views: readonly EndpointView[]): void {
  if (/^https?:\/\//i.test(endpoint)) return;
  if (views.some(({ name }) => name === endpoint)) return;
  throw invalid('endpoint', unknownEndpointText(endpoint, views));
}

/** A delivery shown alone, with everything that was tried. */
export function presentDeliveryWithAttempts(
  { delivery, attempts }: { delivery: Delivery; attempts: readonly Attempt[] },
  headersAt: ((atMs: number) => Record<string, string>) | null,
): Omit<z.output<typeof deliveryWithAttempts>, keyof Subject> {
  return {
    ...presentDelivery(delivery),
    attempts: attempts.map((attempt) => ({
      ...presentAttempt(attempt),
      request_headers: wasSent(attempt) ? (headersAt?.(attempt.at) ?? null) : null,
    })),
  };
}

/** Whether the request of an attempt left: without a connection none did. */
function wasSent({ phases }: Attempt): boolean {
  return phases?.[1] !== undefined;
}
