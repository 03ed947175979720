import type { z } from 'zod';
import { closeBatch, writeBatch, type BatchSettings } from '../batches/change.ts';
import type { TokenConfig } from '../config/schema.ts';
import type { AuditRecord } from '../core/audit.ts';
import {
  batchNameKey,
  batchOf,
  BATCH_ID_MARK,
  batchSealContext,
  MEMBER_STATUSES,
  countMembers,
  type Batch,
  type BatchFindings,
} from '../core/batch.ts';
import { shownReceiver, webhookReceiver } from '../core/delivery/receiver.ts';
import { isoTime } from '../core/event/event.ts';
import { parseWatchId, type SealedParts, type Subscription } from '../core/watch/watch.ts';
import type { Daemon } from '../daemon.ts';
import { deriveWebhookSecret } from '../deliver/secrets/sign.ts';
import { isOfSources, type StoredBatch } from '../redis/stores/batch-store.ts';
import { sourceOf } from '../batches/batches.ts';
import { auditOf, type Acting } from './audit.ts';
import { mayRead, sourcesOf } from './auth.ts';
import { presentPage, timeOrNull } from './present.ts';
import { invalid, refusal } from './problem.ts';
import type { Requests, Slice, Status } from './routing.ts';
import type { batchSchema } from './schemas/batch.ts';
import type { Routes } from './schemas/routes.ts';

type Own = Routes['batches'];
type Asked = Requests<Own>;
type BatchJson = z.output<typeof batchSchema>;

/** Shows, sets, closes and forgets batches. */
export class BatchService implements Slice<Own> {
  constructor(private readonly daemon: Daemon) {}

  async list({ query, token }: Asked['list']) {
    const { state, limit, cursor, ...rest } = query;
    rest satisfies Record<string, never>;
    const filter = { state, sources: sourcesOf(token) };
    const page = await this.daemon.stores.batches.list(filter, { limit, cursor });
    const items = await Promise.all(page.items.map((batch) => this.view(batch)));
    return presentPage({ ...page, items }, (view) => view);
  }

  async get({ params, token }: Asked['get']) {
    return this.view((await this.meant(params.name, token)).batch);
  }

  async put({ params, body, token }: Asked['put'], reply: Status) {
    const { daemon } = this;
    daemon.dataDirectory.refuseIfLost();
    this.refuseUnknown(body);
    const name = batchOf(sourcesOf(token), params.name);
    const settings = (batch: Batch): BatchSettings => ({
      expected: body.expected ?? null,
      maxFailed: body.max_failed ?? null,
      subscriptions: this.subscriptionsOf(body, batch, token),
    });
    const written = await writeBatch(daemon, name, settings);
    if (written === 'full') throw refusal('too_many_batches', TOO_MANY);
    if (written === 'closed') {
      const detail = `the batch "${params.name}" is closed: expected cannot change any more`;
      throw refusal('batch_closed', detail);
    }
    daemon.batches.wake();
    const secret = this.derivedSecret(body, written.batch);
    reply.code(written.isNew ? 201 : 200);
    return this.answer(written.batch, token, secret);
  }

  async close(request: Acting & Asked['close']) {
    const { params, token } = request;
    const { batch } = await this.meant(params.name, token);
    const audit = this.auditOf(request, 'batch.close', batch);
    const closed = await closeBatch(this.daemon, batch.id, audit);
    if (closed === null) throw unknownBatch(params.name);
    this.daemon.batches.wake();
    return this.answer(closed, token);
  }

  /** Closes the batches that a list of registrations named. */
  async closeNamed(names: readonly string[], token: TokenConfig | null): Promise<void> {
    if (names.length === 0) return;
    const { daemon } = this;
    const meant = names.map((name) => batchOf(sourcesOf(token), name));
    for (const stored of await daemon.stores.batches.named(meant)) {
      if (stored?.batch.state === 'open') await closeBatch(daemon, stored.batch.id, null);
    }
    daemon.batches.wake();
  }

  async remove(request: Acting & Asked['remove']) {
    const { params, token } = request;
    const { batch } = await this.meant(params.name, token);
    const audit = this.auditOf(request, 'batch.delete', batch);
    await this.daemon.stores.batches.forget(batch, audit);
  }

  /**
   * The batch that a name or id means to a token: of those of a name, that of the token's own sources first.
   * Throws RunwatchError `batch_not_found`, `several_batches`.
   */
  async meant(text: string, token: TokenConfig | null): Promise<StoredBatch> {
    const { batches } = this.daemon.stores;
    const own = sourcesOf(token);
    if (text.startsWith(BATCH_ID_MARK)) {
      const stored = await batches.read(text);
      if (stored === null || !isOfSources(stored.batch, own)) throw unknownBatch(text);
      return stored;
    }
    const name = batchOf(own, text);
    const [mine] = await batches.named([name]);
    if (mine) return mine;
    const others = this.daemon.config.auth.tokens
      .map((one) => batchOf(sourcesOf(one), text))
      .filter((one) => isOfSources(one, own));
    const names = [...new Map(others.map((one) => [batchNameKey(one), one])).values()];
    const found = (await batches.named(names)).filter((stored) => stored !== null);
    const [first, ...more] = found;
    if (first === undefined) throw unknownBatch(text);
    if (more.length === 0) return first;
    const ids = found.map(({ batch }) => `${batch.id} (of ${batch.sources?.join(', ')})`);
    throw refusal(
      'several_batches',
      `several batches are named "${text}": ${ids.join(', ')}; name one by its id`,
    );
  }

  /** The names of batches that a token may know of, each once. */
  async namesOf(ids: readonly string[], token: TokenConfig | null): Promise<string[]> {
    const own = sourcesOf(token);
    const found = await this.daemon.stores.batches.readAll(ids);
    const names = found.flatMap(({ batch }) => (isOfSources(batch, own) ? [batch.name] : []));
    return [...new Set(names)];
  }

  private auditOf(
    request: Acting,
    action: 'batch.close' | 'batch.delete',
    { id, name, sources }: Batch,
  ): AuditRecord {
    const act = { action, target: id, sources: sources ?? undefined, details: { name } };
    return auditOf(request, this.daemon.now(), act);
  }

  private async view(batch: Batch): Promise<BatchJson> {
    const { outcome, id } = batch;
    return presentBatch(batch, outcome ?? (await this.daemon.stores.batches.find(id)));
  }

  private async answer(batch: Batch, token: TokenConfig | null, secret: string | null = null) {
    const shown = mayRead(token) ? await this.view(batch) : { id: batch.id, name: batch.name };
    return { ...shown, ...(secret !== null && { webhook_secret: secret }) };
  }

  /** Throws InvalidRequest where it names an endpoint or a URL that may not be. */
  private refuseUnknown({ endpoints = [], webhook }: Asked['put']['body']): void {
    const { names } = this.daemon.endpoints;
    for (const [at, one] of endpoints.entries()) {
      if (names.includes(one)) continue;
      const known = names.join(', ');
      throw invalid(`endpoints.${at}`, `no endpoint is named "${one}"; expected one of: ${known}`);
    }
    if (webhook === undefined) return;
    const verdict = this.daemon.deliverer.egressGuard.check(new URL(webhook.url));
    if (!verdict.allowed) throw invalid('webhook.url', verdict.message);
  }

  private subscriptionsOf(
    body: Asked['put']['body'],
    batch: Batch,
    token: TokenConfig | null,
  ): Subscription[] | null {
    const { endpoints, webhook } = body;
    if (endpoints === undefined && webhook === undefined) return null;
    const named = (endpoints ?? []).map((endpoint): Subscription => ({
      kind: 'endpoint',
      endpoint,
    }));
    if (webhook === undefined) return named;
    const { url, secret = this.derivedSecret(body, batch), headers } = webhook;
    const parts: SealedParts = {
      url,
      ...(secret !== null && { secret }),
      ...(headers !== undefined && { headers }),
    };
    const sealed = this.daemon.secrets.sealer.seal(parts, batchSealContext(batch));
    const receiver = webhookReceiver(url, sourceOf(batch));
    const registered = token === null ? {} : { registeredBy: [token.name] };
    return [...named, { kind: 'webhook', receiver, ...registered, sealed }];
  }

  /** What signs for the webhook, where it came without a secret. */
  private derivedSecret({ webhook }: Asked['put']['body'], batch: Batch): string | null {
    if (webhook === undefined || webhook.secret !== undefined) return null;
    const { signingSecret } = this.daemon.secrets;
    return deriveWebhookSecret(signingSecret, { source: sourceOf(batch), url: webhook.url });
  }
}

const TOO_MANY = 'there are 20,000 batches, as many as are kept; delete some';

function unknownBatch(text: string) {
  return refusal('batch_not_found', `there is no batch "${text}"`);
}

function presentBatch(
  batch: Batch,
  { byStatus, failed }: Pick<BatchFindings, 'byStatus' | 'failed'>,
): BatchJson {
  const { subscriptions } = batch;
  const webhook = subscriptions?.find((one) => one.kind === 'webhook');
  return {
    id: batch.id,
    name: batch.name,
    sources: batch.sources === null ? null : [...batch.sources],
    state: batch.state,
    closed_by: batch.closedBy,
    total: countMembers(byStatus, MEMBER_STATUSES),
    expected: batch.expected,
    max_failed: batch.maxFailed,
    by_status: byStatus,
    failed: failed.map((watch) => parseWatchId(watch).runId),
    endpoints:
      subscriptions?.flatMap((one) => (one.kind === 'endpoint' ? [one.endpoint] : [])) ?? null,
    webhook: webhook === undefined ? null : shownReceiver(webhook.receiver),
    created_at: isoTime(batch.createdAt),
    failed_at: timeOrNull(batch.failedAt),
    completed_at: timeOrNull(batch.completedAt),
  };
}
