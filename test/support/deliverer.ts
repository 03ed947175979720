import { Deliverer } from '../../src/deliver/deliverer.ts';
import type { Process } from '../../src/process.ts';

/** The deliverer of a process about which no event is expected. */
export function delivererOf(process: Process): Deliverer {
  const plan = () => {
    throw new Error('an event about an endpoint was raised');
  };
  return new Deliverer(process, { plan }, { owe: () => undefined });
}
