import { setTimeout as delay } from 'node:timers/promises';
import type { HealthCheck } from '../core/health-check.ts';
import type { MemoryFigures } from '../core/redis-memory.ts';
import { overdueText } from '../core/source/overdue.ts';
import { readsText } from '../core/source/read-times.ts';
import type { Daemon } from '../daemon.ts';
import type { StoreState } from '../redis/store-state.ts';
import type { UnreadList } from '../source/discovery.ts';
import type { Source } from '../source/source.ts';
import type { LogTrouble } from '../telemetry/log-output.ts';
import { describeRemnants, type Remnants } from '../watches/unconfigured.ts';
import { endpointTroubles } from './endpoints.ts';
import {
  troubledSources,
  unknownSources,
  type SourceTrouble,
  type UnknownSource,
} from './sources.ts';

/** After this long Redis counts as away: probes do not wait longer either, ms. */
const ANSWER_TIMEOUT_MS = 1_000;

/** The checks of readiness. A failure of Noxus only degrades: the daemon remains ready. */
export class Health {
  constructor(private readonly daemon: Daemon) {}

  async checks(): Promise<HealthCheck[]> {
    const { daemon } = this;
    const { poller, deliverer, storeGuard, storeConditions, hostShortages } = daemon;
    const [written, closed, unknown, troubles, remnants, failing, figures] = await Promise.all([
      daemon.connections.tryWrite(),
      answerOf(() => troubledSources(poller.sources)),
      answerOf(() => unknownSources(poller.sources)),
      answerOf(() => poller.discovery.troubles()),
      answerOf(() => daemon.unconfigured.find()),
      answerOf(() => endpointTroubles(daemon)),
      answerOf(() => daemon.stores.memory.figures()),
    ]);
    return [
      redisCheck(written),
      ...[daemon.dataDirectory.check() ?? []].flat(),
      ...logChecks(daemon.eventLog.trouble()),
      ...degradedBy('descriptors', hostShortages.trouble()),
      ...degradedBy('store', storeGuard.trouble(), ...storeConditions.troubles()),
      ...memoryChecks(figures),
      workerCheck('poll workers', poller.isRunning()),
      workerCheck('delivery worker', deliverer.isRunning()),
      sourcesCheck(closed, unknown),
      ...pollsChecks(poller.sources),
      ...discoveryChecks(troubles),
      ...endpointsChecks(failing ?? []),
      ...this.configurationChecks(remnants),
    ];
  }

  /** No line when daemons agree, the file was right, and all that the store and rules name is configured. */
  private configurationChecks(remnants: Remnants | null): HealthCheck[] {
    const { alertRules, reload, storeConditions } = this.daemon;
    const lines = [
      storeConditions.disagreement()?.text ?? [],
      reload.trouble() ?? [],
      remnants === null ? [] : describeRemnants(remnants),
      alertRules.unknown.map(
        ({ rule, endpoint }) =>
          `the rule ${rule} notifies ${endpoint}, which is no endpoint: configure it, or correct the rule`,
      ),
    ].flat();
    if (lines.length === 0) return [];
    return [{ name: 'configuration', status: 'degraded', detail: lines.join('; ') }];
  }
}

/** The answer; null on an error, or when none comes in time. */
async function answerOf<Answer>(ask: () => Promise<Answer>): Promise<Answer | null> {
  const answer = ask().catch(() => null);
  return Promise.race([answer, delay(ANSWER_TIMEOUT_MS, null, { ref: false })]);
}

function redisCheck(state: StoreState): HealthCheck {
  const name = 'redis';
  switch (state.kind) {
    case 'ok':
      return { name, status: 'ok', detail: 'takes writes' };
    case 'away':
      return { name, status: 'failed', detail: 'does not answer' };
    case 'refuses':
      return { name, status: 'failed', detail: `refuses: ${state.reason} (${state.code})` };
  }
}

/** No line while the log of this process can be written. */
function logChecks(trouble: LogTrouble | null): HealthCheck[] {
  if (trouble === null) return [];
  const detail = `no line was written since ${new Date(trouble.since).toISOString()}: ${trouble.reason}; deliveries to log endpoints wait, or another process makes them`;
  return [{ name: 'log', status: 'degraded', detail }];
}

/** No line without trouble: descriptors that ran out, data that was lost in the last hour or may be. */
function degradedBy(name: string, ...troubles: (string | null)[]): HealthCheck[] {
  const lines = troubles.filter((trouble) => trouble !== null);
  return lines.length === 0 ? [] : [{ name, status: 'degraded', detail: lines.join('; ') }];
}

/** No line where Redis does not say. */
function memoryChecks(figures: MemoryFigures | null): HealthCheck[] {
  if (figures === null) return [];
  const { used, max, live, settled, indexes, daysLeft, isScarce } = figures;
  const limit = max === null ? '' : ` of ${megabytes(max)}`;
  const parts = `live ${megabytes(live)}, settled ${megabytes(settled)}, indexes ${megabytes(indexes)}`;
  const days =
    daysLeft === null ? '' : `; at the rate of the last day ${daysText(daysLeft)} are left`;
  const cure = isScarce ? '; raise maxmemory, or lower watches.retention' : '';
  const detail = `${megabytes(used)}${limit} are used: ${parts}${days}${cure}`;
  return [{ name: 'memory', status: isScarce ? 'degraded' : 'ok', detail }];
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toLocaleString('en', { maximumFractionDigits: 1 })} MB`;
}

function daysText(days: number): string {
  return days < 10 ? `${days.toFixed(1)} days` : `${Math.floor(days).toLocaleString('en')} days`;
}

function workerCheck(name: string, running: boolean): HealthCheck {
  return { name, status: running ? 'ok' : 'failed', detail: running ? 'running' : 'not running' };
}

/** No line while no polls are overdue, and runs are read as often as they are to be. */
function pollsChecks(sources: readonly Source[]): HealthCheck[] {
  const troubles = sources.flatMap((source) => {
    const [overdue, reads] = [source.overdue(), source.reads()];
    if (overdue !== null) return overdueText(overdue);
    return reads !== null && reads.stretched > 0 ? readsText(reads) : [];
  });
  return troubles.map((detail) => ({ name: 'polls', status: 'degraded', detail }));
}

function sourcesCheck(
  troubled: SourceTrouble[] | null,
  unknown: UnknownSource[] | null,
): HealthCheck {
  const name = 'sources';
  if (troubled === null || unknown === null)
    return { name, status: 'degraded', detail: 'not known without Redis' };
  const lines = [...troubled.map(({ text }) => text), ...unknown.map(describeUnknown)];
  if (lines.length === 0) return { name, status: 'ok', detail: 'every source answers' };
  const isWell = troubled.length === 0 && unknown.every(({ failure }) => failure === null);
  return { name, status: isWell ? 'ok' : 'degraded', detail: lines.join('; ') };
}

function describeUnknown({ name, failure }: UnknownSource): string {
  return `${name} has not answered yet${failure === null ? '' : ` (${failure})`}`;
}

/** No line while every endpoint takes deliveries. */
function endpointsChecks(troubles: string[]): HealthCheck[] {
  if (troubles.length === 0) return [];
  return [{ name: 'endpoints', status: 'degraded', detail: troubles.join('; ') }];
}

/** No line when discovery is not configured. */
function discoveryChecks(troubles: UnreadList[] | null): HealthCheck[] {
  if (troubles === null) return [];
  const name = 'discovery';
  const lines = troubles.map(({ text }) => text);
  return troubles.length === 0
    ? [{ name, status: 'ok', detail: 'every list can be read' }]
    : [{ name, status: 'degraded', detail: `cannot read ${lines.join('; ')}` }];
}
