import { CHECKS } from '../core/health-check.ts';
import { PER_WATCH } from '../core/delivery/receiver.ts';
import type { Daemon } from '../daemon.ts';
import type { Process } from '../process.ts';
import type { CheckFigures, EndpointFigures, SourceFigures } from '../telemetry/gauges.ts';
import { healthOf } from './endpoints.ts';
import type { Health } from './health.ts';
import { closedSources, unknownSources } from './sources.ts';

/** Names what a scrape of the metrics reads, beside what is counted as it happens. */
export function nameFigures(daemon: Daemon, health: Health): void {
  const { metrics } = daemon;
  metrics.ofSources(() => sourceFigures(daemon));
  metrics.ofEndpoints(() => endpointFigures(daemon));
  metrics.ofChecks(() => checkFigures(health));
}

async function sourceFigures({ poller, stores }: Daemon): Promise<SourceFigures[]> {
  const { sources } = poller;
  const [closed, unknown] = await Promise.all([closedSources(sources), unknownSources(sources)]);
  const isDown = new Set(
    [...closed, ...unknown.filter(({ failure }) => failure !== null)].map(({ name }) => name),
  );
  return Promise.all(
    sources.map(async (source) => {
      const used = await stores.budgets.used(source.name);
      return {
        name: source.name,
        reads: source.reads(),
        streams: await source.streams.figures(),
        isUp: !isDown.has(source.name),
        isConsistent: await source.agreement.isConsistent(),
        usedRatio: Math.min(1, used / source.limiter.limit.requests),
      };
    }),
  );
}

/** Figures of the configured endpoints, and of others with waiting deliveries. */
async function endpointFigures({ endpoints, stores, now }: Process): Promise<EndpointFigures[]> {
  const { deliveries, endpointStates } = stores;
  const [{ byEndpoint }, states] = await Promise.all([
    deliveries.counts(),
    endpointStates.getMany(endpoints.names),
  ]);
  const waitingAt = (name: string) => {
    const counts = byEndpoint.get(name);
    return counts === undefined ? 0 : counts.pending + counts.parked;
  };
  const known = new Set([...endpoints.names, PER_WATCH]);
  const others = [...byEndpoint.keys()].filter((name) => !known.has(name) && waitingAt(name) > 0);
  return Promise.all(
    [...known, ...others].map(async (name, at): Promise<EndpointFigures> => {
      const state = states[at]?.state;
      const backlog = waitingAt(name);
      const createdAt = backlog > 0 ? await deliveries.oldestWaiting(name) : null;
      const oldestMs = createdAt === null ? null : Math.max(0, now() - createdAt);
      return {
        name,
        isUp: state === undefined ? null : healthOf(state) === 'active',
        backlog,
        oldestMs: backlog > 0 ? oldestMs : 0,
      };
    }),
  );
}

/** Every check by name. */
export async function checkFigures(health: Pick<Health, 'checks'>): Promise<CheckFigures[]> {
  const troubled = (await health.checks()).filter(({ status }) => status !== 'ok');
  return CHECKS.map((name) => ({ name, isOk: troubled.every((one) => one.name !== name) }));
}
