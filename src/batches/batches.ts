import {
  ACTIVE_MEMBERS,
  batchSealContext,
  countMembers,
  IDLE_MS,
  judgeBatch,
  memberStatus,
  MOST_WEBHOOKS,
  type Batch,
  type BatchFindings,
  type MemberStatus,
} from '../core/batch.ts';
import { isPager, newDelivery } from '../core/delivery/delivery.ts';
import type { PlannedEvent } from '../core/delivery/planned-event.ts';
import { urlOf, type Receiver } from '../core/delivery/receiver.ts';
import { isoTime, type BatchEventType } from '../core/event/event.ts';
import { batchEventId } from '../core/event/ids.ts';
import { matchesWatch, wantsBatchEvent } from '../core/event/patterns.ts';
import { batchPageUrl } from '../core/run/links.ts';
import {
  parseWatchId,
  subscriptionKey,
  watchId,
  type SealedParts,
  type Subscription,
  type Watch,
  type WebhookSubscription,
} from '../core/watch/watch.ts';
import { deriveWebhookSecret } from '../deliver/secrets/sign.ts';
import { faultLog } from '../fault-log.ts';
import { startPeriodic, type Periodic } from '../periodic.ts';
import type { Process } from '../process.ts';
import type { StoredBatch } from '../redis/stores/batch-store.ts';

/** How often batches are taken that another process marked and did not judge, ms. */
const EVERY_MS = 2_000;

/**
 * A batch that is taken and not judged, as by a process that has died, is taken again after this time, ms: within five
 * seconds, as all else that a killed process leaves. Two that judge the same batch write one end.
 */
const LEASE_MS = 3_000;

/** Batches taken at a time. */
const MOST = 20;

/** Tries to judge a batch whose members move meanwhile; each move marks it again. */
const TRIES = 10;

/** Failed runs that an event names with their workflows and addresses. */
const MOST_NAMED = 10;

/** Members read at a time. */
const CHUNK = 200;

/**
 * Judges batches whose members have moved: at once where this process has moved them, else by their marks in the
 * store. When a batch has ended is decided by `judgeBatch` of `core/batch.ts`. What follows is written in one step with
 * the events, by whichever process is first.
 */
export class Batches {
  private periodic: Periodic | null = null;
  private readonly onError: (error: unknown) => void;

  constructor(private readonly process: Process) {
    this.onError = faultLog(process.log, 'batches');
    process.stores.watches.heedMembers(() => this.wake());
  }

  start(): void {
    const { clock, stores } = this.process;
    clock.onStepTakenOut(async (step) => {
      await stores.batches.moveBack(step);
      this.wake();
    });
    this.periodic = startPeriodic(() => this.judgeDue(), {
      everyMs: EVERY_MS,
      onError: this.onError,
    });
  }

  async stop(): Promise<void> {
    await this.periodic?.stop();
  }

  /** Judges what is due now. */
  wake(): void {
    this.periodic?.trigger();
  }

  /** Judges all batches that are due. One that cannot be judged keeps no other from it. */
  async judgeDue(): Promise<void> {
    const { stores, now } = this.process;
    for (;;) {
      const taken = { idleSince: now() - IDLE_MS, leaseMs: LEASE_MS, most: MOST };
      const due = await stores.batches.takeDue(now(), taken);
      for (const id of due) await this.judge(id).catch(this.onError);
      if (due.length < MOST) return;
    }
  }

  private async judge(id: string): Promise<void> {
    const { batches } = this.process.stores;
    for (let tries = 0; tries < TRIES; tries += 1) {
      const stored = await batches.read(id);
      if (stored === null) return batches.drop(id);
      const found = await batches.find(id);
      if (await this.settle(stored, found)) return;
    }
  }

  /** @returns false where the batch, or a member, has moved since it was read */
  private async settle(stored: StoredBatch, found: BatchFindings): Promise<boolean> {
    const { process } = this;
    const { batch } = stored;
    const { batch: judged, events } = judgeBatch(batch, found, process.now());
    const isIdle =
      judged.state !== 'completed' && countMembers(found.byStatus, ACTIVE_MEMBERS) === 0;
    const audience = new Audience(process, judged, events);
    const after = events.length === 0 ? judged : await audience.gather();
    const failedRuns = events.length === 0 ? [] : await this.failedRuns(found.failed);
    const planned = events.map((type) => this.plan(after, { type, found, failedRuns, audience }));
    const pools = await process.stores.batches.settle(stored, { after, isIdle, events: planned });
    if (pools === null) return false;
    for (const type of events) process.log.info(dataOf(after, type, found), type);
    process.dispatch(pools);
    return true;
  }

  /** The first runs that failed, as messages name them. */
  private async failedRuns(watches: readonly string[]): Promise<FailedRun[]> {
    const { stores, linksOf } = this.process;
    const named = watches.slice(0, MOST_NAMED).map(parseWatchId);
    const stored = await stores.watches.getMany(named);
    return stored.flatMap((one) => {
      if (one === null) return [];
      const { source, runId, run } = one.watch;
      const { workflowName, runUrl, watchUrl } = linksOf(one.watch);
      return {
        run_id: runId,
        source,
        workflow_id: run?.workflow_id ?? null,
        workflow_name: workflowName,
        status: memberStatus(one.watch),
        run_url: runUrl,
        watch_url: watchUrl,
      };
    });
  }

  private plan(batch: Batch, { type, found, failedRuns, audience }: PlannedOf): PlannedEvent {
    const id = batchEventId(batch, type);
    const at = this.process.now();
    const about = {
      source: sourceOf(batch),
      runId: '',
      subject: `batch ${batch.id}`,
      batchId: batch.id,
      ...(batch.sources !== null && batch.sources.length > 1 && { sources: batch.sources }),
    };
    const { public_url: publicUrl } = this.process.config.server;
    const data = {
      ...dataOf(batch, type, found),
      failed_runs: failedRuns,
      batch_url: publicUrl === undefined ? null : batchPageUrl(publicUrl, batch),
    };
    return {
      id,
      body: JSON.stringify({ id, type, timestamp: isoTime(at), data }),
      deliveries: audience.of(type).map((one) => newDelivery(about, { id, type }, one, at)),
    };
  }
}

interface PlannedOf {
  type: BatchEventType;
  found: BatchFindings;
  failedRuns: readonly FailedRun[];
  audience: Audience;
}

/** A run that failed, as events of its batch name it. */
interface FailedRun {
  run_id: string;
  source: string;
  workflow_id: string | null;
  workflow_name: string | null;
  status: MemberStatus;
  run_url: string | null;
  watch_url: string | null;
}

/** What a batch belongs to, where that is one source. */
export function sourceOf({ sources }: Pick<Batch, 'sources'>): string {
  const [source = '', ...others] = sources ?? [];
  return others.length === 0 ? source : '';
}

/** What an event of a batch says. */
function dataOf(batch: Batch, type: BatchEventType, { byStatus, failed }: BatchFindings) {
  const total = Object.values(byStatus).reduce((sum, count) => sum + count, 0);
  const endedAt = type === 'batch.completed' ? batch.completedAt : batch.failedAt;
  return {
    batch: batch.name,
    batch_id: batch.id,
    ...(batch.sources !== null && { sources: batch.sources }),
    ...(type === 'batch.completed' && { reason: batch.closedBy }),
    total,
    expected: batch.expected,
    max_failed: batch.maxFailed,
    by_status: byStatus,
    failed: failed.map((one) => parseWatchId(one).runId),
    created_at: isoTime(batch.createdAt),
    duration_ms: (endedAt ?? batch.createdAt) - batch.createdAt,
  };
}

/**
 * The receivers of a batch's events: its own subscriptions, or those of its members, each URL once. A pager is not
 * called because all is done.
 */
class Audience {
  private readonly receivers = new Map<BatchEventType, Set<Receiver>>();
  /** By their URLs: the receivers of two sources at one URL are one. Null for one that no key opens. */
  private readonly webhooks = new Map<string, WebhookSubscription | null>();

  constructor(
    private readonly process: Process,
    private readonly batch: Batch,
    private readonly events: readonly BatchEventType[],
  ) {
    for (const type of events) this.receivers.set(type, new Set());
  }

  of(type: BatchEventType): Receiver[] {
    return [...(this.receivers.get(type) ?? [])];
  }

  /** @returns the batch with the webhooks of its members that hear of it */
  async gather(): Promise<Batch> {
    const { batch, events, process } = this;
    if (batch.subscriptions !== null) {
      for (const type of events) {
        for (const one of batch.subscriptions) this.put(type, subscriptionKey(one));
      }
      return batch;
    }
    for (const one of batch.inherited) this.webhooks.set(urlOf(one.receiver), one);
    for await (const members of process.stores.watches.ofBatch(batch.id, CHUNK)) {
      for (const watch of members) {
        for (const one of watch.subscriptions) this.add(watch, one);
      }
    }
    return { ...batch, inherited: [...this.webhooks.values()].filter((one) => one !== null) };
  }

  private add(watch: Watch, one: Subscription): void {
    for (const type of this.events) {
      if (one.kind === 'endpoint') {
        const { events, when } = this.process.endpoints.all[one.endpoint] ?? {};
        const isWanted = wantsBatchEvent(events, type) && matchesWatch(when, watch);
        if (isWanted) this.put(type, one.endpoint);
      } else if (wantsBatchEvent(one.events, type)) {
        const webhook = this.inherit(watch, one);
        if (webhook !== null) this.put(type, webhook.receiver);
      }
    }
  }

  private put(type: BatchEventType, receiver: Receiver): void {
    const { endpoints } = this.process;
    if (type !== 'batch.failed' && isPager(endpoints.all[receiver]?.type)) return;
    this.receivers.get(type)?.add(receiver);
  }

  private inherit(watch: Watch, one: WebhookSubscription): WebhookSubscription | null {
    const url = urlOf(one.receiver);
    const known = this.webhooks.get(url);
    if (known !== undefined || this.webhooks.size >= MOST_WEBHOOKS) return known ?? null;
    const inherited = this.sealed(watch, one);
    this.webhooks.set(url, inherited);
    return inherited;
  }

  /** The webhook of a member as the batch keeps it: the member may be gone when it is sent. */
  private sealed(watch: Watch, one: WebhookSubscription): WebhookSubscription | null {
    const { secrets, log } = this.process;
    const { sealer, signingSecret } = secrets;
    try {
      const parts = sealer.open(one.sealed, watchId(watch)) as SealedParts;
      const { url, secret = deriveWebhookSecret(signingSecret, { source: watch.source, url }) } =
        parts;
      const sealed = sealer.seal({ ...parts, secret }, batchSealContext(this.batch));
      return { kind: 'webhook', receiver: one.receiver, sealed };
    } catch (error) {
      const { name, id } = this.batch;
      log.warn({ batch: name, batch_id: id, err: error }, 'batch.webhook_unreadable');
      return null;
    }
  }
}
