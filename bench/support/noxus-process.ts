import { setTimeout as delay } from 'node:timers/promises';
import { startSimulator } from '../../src/simulator/server.ts';
import { runIdAt, type NoxusMessage } from './noxus.ts';

// The process behind `startNoxus`: argument 1 is the number of runs. It ends with its parent.
const simulator = await startSimulator();
const count = Number(process.argv[2]);
for (let index = 0; index < count; index += 1) simulator.add({ id: runIdAt(index) });

process.on('disconnect', () => process.exit());
process.on('message', (asked) => {
  if (asked === 'count') say({ kind: 'count', requests: simulator.requests.total });
  else void tellFirstRequest();
});
say({ kind: 'listening', url: simulator.url, apiKey: simulator.apiKey });

async function tellFirstRequest(): Promise<void> {
  const before = simulator.requests.total;
  while (simulator.requests.total === before) await delay(1);
  say({ kind: 'first_request', at: Date.now() });
}

function say(message: NoxusMessage): void {
  process.send?.(message);
}
