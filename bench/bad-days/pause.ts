import { createServer } from 'node:http';
import { startSimulator } from '../../src/simulator/server.ts';
import { waitFor } from '../../test/support/wait-for.ts';
import { withContext } from '../support/context.ts';
import { sourceAt, startDaemon } from '../support/daemon.ts';
import { rounded, type Figure } from '../support/figures.ts';
import { startRedis } from '../support/redis.ts';
import { serve } from '../support/serve.ts';

const MOST_S = 3_600;

/** A receiver answers 429 with the present time in seconds since 1970 as `Retry-After`: 56 years. */
export async function playPause(): Promise<Figure[]> {
  return withContext(async (context) => {
    const redis = await startRedis(context);
    const simulator = await startSimulator();
    context.onEnd(() => simulator.close());
    let requests = 0;
    const url = await serve(
      context,
      createServer((request, response) => {
        requests += 1;
        request.resume();
        response.writeHead(429, { 'retry-after': String(Math.round(Date.now() / 1_000)) }).end();
      }),
    );
    const daemon = await startDaemon(context, {
      profileDir: null,
      config: {
        redis: { url: `unix://${redis.socket}` },
        sources: { default: sourceAt(simulator) },
        polling: { hints: 'off', lists: 'off' },
        endpoints: { ops: { type: 'webhook', url } },
      },
    });
    const { id } = simulator.add({ steps: [{ after_ms: 0, status: 'completed' }] });
    await daemon.register([id]);
    await waitFor(() => requests > 0, { timeoutMs: 30_000 });
    const readiness = async () => (await fetch(`${daemon.url}/readyz`)).text();
    const asked = /ops asked for a pause until ([\dT:.-]+Z)/;
    const until = await waitFor(async () => asked.exec(await readiness())?.[1], {
      timeoutMs: 30_000,
      describe: 'readiness to say that the endpoint asked for a pause',
    });
    return [
      {
        name: 'an endpoint that asks for a pause of 56 years: pause, as readiness says it',
        value: rounded((Date.parse(until) - Date.now()) / 1_000),
        unit: 's',
        target: { atMost: MOST_S },
      },
    ];
  });
}
