/**
 * The files that a reader opens to follow a run from its registration to its webhook. Kept by hand: a file belongs
 * here if the run's watch, event or delivery, or the decision to go on with it, passes through code of it. Lists,
 * streams, alerts, metrics and tracing are beside the way, and so are helpers that say by their name what they do.
 * By the same argument it was 61 files and 13,429 lines at fb60b33c.
 */
export const WAY: readonly string[] = [
  // The API takes a registration.
  'src/http/schemas/routes.ts',
  'src/http/routing.ts',
  'src/http/schemas/watch.ts',
  'src/http/schemas/common.ts',
  'src/http/watches.ts',
  // It becomes a watch with its deliveries.
  'src/watches/register.ts',
  'src/core/watch/register.ts',
  'src/core/watch/watch.ts',
  'src/core/delivery/delivery.ts',
  'src/core/event/event.ts',
  'src/core/event/patterns.ts',
  'src/core/event/ids.ts',
  // One script writes watch, events, deliveries and due time.
  'src/redis/watch-change.ts',
  'src/redis/stores/watch-store.ts',
  'src/redis/stores/watch-record.ts',
  'src/redis/indexes.ts',
  'src/redis/stores/event-plan.ts',
  'src/redis/lua/delivery-order.ts',
  'src/redis/keys.ts',
  'src/redis/stores/commit-watch.ts',
  'src/redis/script.ts',
  'src/redis/lua/schedule.ts',
  // A slot claims the poll when it is due.
  'src/source/source.ts',
  'src/source/schedule.ts',
  'src/source/slots.ts',
  'src/queue/slot-queue.ts',
  'src/redis/stores/schedule-store.ts',
  'src/redis/stores/request-claim.ts',
  'src/core/source/request-order.ts',
  // Limiter and throttle admit it, and the source is asked.
  'src/source/limiter.ts',
  'src/source/throttle.ts',
  'src/source/reader.ts',
  'src/noxus/port.ts',
  'src/fetch/client.ts',
  'src/fetch/transport.ts',
  'src/noxus/run.ts',
  'src/core/run/snapshot.ts',
  // The answer becomes an observation, and is written by the same script.
  'src/source/observer.ts',
  'src/core/watch/observe.ts',
  'src/core/run/transition.ts',
  'src/core/cadence/cadence.ts',
  'src/core/cadence/hazard.ts',
  'src/core/watch/stall.ts',
  // The relay claims the delivery that is due.
  'src/deliver/deliverer.ts',
  'src/deliver/relay.ts',
  'src/core/delivery/claim.ts',
  'src/redis/stores/outbox-store.ts',
  'src/redis/stores/pool-claims.ts',
  'src/deliver/claims.ts',
  'src/core/delivery/fold.ts',
  // An attempt is made, and its outcome written.
  'src/deliver/attempts.ts',
  'src/deliver/routes.ts',
  'src/deliver/permits.ts',
  'src/deliver/channels/webhook.ts',
  'src/deliver/secrets/sign.ts',
  'src/deliver/http-attempt.ts',
  'src/deliver/http-post.ts',
  'src/core/delivery/retry.ts',
  'src/core/delivery/endpoint-state.ts',
  'src/deliver/slots.ts',
  'src/redis/stores/delivery-step.ts',
];
