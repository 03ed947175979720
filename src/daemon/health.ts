import type { HealthCheck, HealthService } from '../http/services.ts';
import type { RedisConnections } from '../redis/connection.ts';
import type { Deliverer } from './deliverer.ts';
import type { Poller } from './poller.ts';

interface HealthDependencies {
  redis: Pick<RedisConnections, 'isReady' | 'commands'>;
  poller: Poller;
  deliverer: Deliverer;
}

/** What readiness depends on. Noxus is none of it: its trouble degrades and never unreadies. */
export function createHealth({ redis, poller, deliverer }: HealthDependencies): HealthService {
  return {
    async checks() {
      return [
        await checkRedis(redis),
        workerCheck('poll workers', poller.isRunning()),
        workerCheck('delivery worker', deliverer.isRunning()),
        sourcesCheck(poller.refused()),
      ];
    },
  };
}

async function checkRedis({
  isReady,
  commands,
}: HealthDependencies['redis']): Promise<HealthCheck> {
  const answers =
    isReady() &&
    (await commands.ping().then(
      () => true,
      () => false,
    ));
  return answers
    ? { name: 'redis', status: 'ok', detail: 'answers' }
    : { name: 'redis', status: 'failed', detail: 'does not answer' };
}

function workerCheck(name: string, running: boolean): HealthCheck {
  return { name, status: running ? 'ok' : 'failed', detail: running ? 'running' : 'not running' };
}

function sourcesCheck(refused: string[]): HealthCheck {
  return refused.length === 0
    ? { name: 'sources', status: 'ok', detail: 'no source refuses its key' }
    : { name: 'sources', status: 'degraded', detail: `refusing their key: ${refused.join(', ')}` };
}
