import { Counter, Gauge, type Registry } from 'prom-client';
import type { LossReason } from '../core/store-loss.ts';
import { tracingInstruments } from './tracing.ts';

/** What a process counts of itself: its API, its configuration, its store and clock, its traces. */
export function processInstruments(registers: Registry[]) {
  return {
    ...storeInstruments(registers),
    ...httpInstruments(registers),
    ...configInstruments(registers),
    ...tracingInstruments(registers),
  };
}

export function processRecordings(instruments: ReturnType<typeof processInstruments>) {
  return {
    /** @param route the pattern of its path; null where no route has it */
    httpRequest(route: string | null, status: number): void {
      instruments.httpRequests.inc({ route: route ?? 'none', status });
    },

    /** @param skewMs how far the clock of this host is ahead */
    clockSkew(skewMs: number): void {
      instruments.clockSkew.set(skewMs / 1_000);
    },

    spans(result: 'exported' | 'failed', count: number): void {
      instruments.spans.inc({ result }, count);
    },

    heartbeat(result: string): void {
      instruments.heartbeats.inc({ result });
    },

    /** The configuration was read again. */
    reloaded(isInForce: boolean): void {
      instruments.reloadSuccessful.set(isInForce ? 1 : 0);
      if (isInForce) instruments.reloadedAt.setToCurrentTime();
    },

    /** @param reason how the store lost what it had */
    dataLost(reason: string): void {
      instruments.dataLost.inc({ reason });
    },
  };
}

/** Both begin with the configuration of the start, which was right. */
function configInstruments(registers: Registry[]) {
  const reloadSuccessful = new Gauge({
    name: 'runwatch_config_last_reload_successful',
    help: 'Whether the configuration was right when it was last read: 0 while an older one stays in force.',
    registers,
  });
  const reloadedAt = new Gauge({
    name: 'runwatch_config_last_reload_success_timestamp_seconds',
    help: 'When the configuration in force was read.',
    registers,
  });
  const heartbeats = new Counter({
    name: 'runwatch_heartbeats_total',
    help: 'Calls of heartbeat.url that were due, by result; not_ready is none.',
    labelNames: ['result'],
    registers,
  });
  for (const result of ['sent', 'failed', 'not_ready']) heartbeats.inc({ result }, 0);
  reloadSuccessful.set(1);
  reloadedAt.setToCurrentTime();
  return { reloadSuccessful, reloadedAt, heartbeats };
}

function httpInstruments(registers: Registry[]) {
  return {
    httpRequests: new Counter({
      name: 'runwatch_http_requests_total',
      help: 'Requests to the API, by route and the status of the answer.',
      labelNames: ['route', 'status'],
      registers,
    }),
  };
}

function storeInstruments(registers: Registry[]) {
  const dataLost = new Counter({
    name: 'runwatch_store_data_lost_total',
    help: 'Losses of data in Redis that this process detected, by reason.',
    labelNames: ['reason'],
    registers,
  });
  // An increase from nothing to one is none: each series is there before its first event.
  for (const reason of ['emptied', 'replaced', 'rolled_back'] satisfies LossReason[]) {
    dataLost.inc({ reason }, 0);
  }
  return {
    dataLost,
    clockSkew: new Gauge({
      name: 'runwatch_clock_skew_seconds',
      help: 'How far the clock of this host is ahead of the clock of Redis, which all processes use.',
      registers,
    }),
  };
}
