import { Gauge, type Registry } from 'prom-client';

/** An endpoint's figures at a scrape. */
export interface EndpointFigures {
  /** Its name; `per-watch` for all webhooks of watches together. */
  name: string;
  /** Whether its deliveries go out; null where that does not concern a single receiver. */
  isUp: boolean | null;
  /** Deliveries that wait. */
  backlog: number;
  /** How old the oldest of these is, ms; null where that was not found in time. */
  oldestMs: number | null;
}

/** The gauges of endpoints; absent while the store cannot be read. */
export function createEndpointGauges(registry: Registry) {
  const gauge = (name: string, help: string) =>
    new Gauge({ name, help, labelNames: ['endpoint'], registers: [registry] });
  const up = gauge(
    'runwatch_endpoint_up',
    'Whether deliveries to a configured endpoint go out: 0 while it is failing, paused or disabled.',
  );
  const backlog = gauge(
    'runwatch_endpoint_backlog',
    'Deliveries that wait for an endpoint, pending and parked.',
  );
  const oldest = gauge(
    'runwatch_endpoint_oldest_pending_seconds',
    'How old the oldest of them is; 0 where none waits.',
  );
  return {
    set(endpoints: readonly EndpointFigures[]): void {
      for (const { name, isUp, backlog: waiting, oldestMs } of endpoints) {
        if (isUp !== null) up.set({ endpoint: name }, isUp ? 1 : 0);
        backlog.set({ endpoint: name }, waiting);
        if (oldestMs !== null) oldest.set({ endpoint: name }, oldestMs / 1_000);
      }
    },
    clear(): void {
      up.reset();
      backlog.reset();
      oldest.reset();
    },
  };
}
