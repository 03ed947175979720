import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

/** Makes instruments of one registry. */
export type Maker = ReturnType<typeof createMaker>;

export function createMaker(registry: Registry) {
  const registers = [registry];
  return {
    gauge<Label extends string>(
      name: string,
      help: string,
      labelNames: Label[] = [],
    ): Gauge<Label> {
      return new Gauge({ name, help, labelNames, registers });
    },
    counter<Label extends string>(
      name: string,
      help: string,
      labelNames: Label[] = [],
    ): Counter<Label> {
      return new Counter({ name, help, labelNames, registers });
    },
    histogram(name: string, help: string, buckets: number[]): Histogram {
      return new Histogram({ name, help, buckets, registers });
    },
  };
}
