import { messageOf } from '../core/errors.ts';
import type { Deliverer } from '../deliver/deliverer.ts';
import { startPeriodic, type Periodic } from '../periodic.ts';
import type { Health } from './health.ts';

/** How long one request may take, ms. */
const TIMEOUT_MS = 10_000;

/**
 * Calls an address as long as this process is ready, for a service that raises an alarm when the calls
 * stop. A failure is logged once, and so is its end.
 */
export class Heartbeat {
  private failure: string | null = null;
  private periodic: Periodic | null = null;

  constructor(
    private readonly deliverer: Pick<Deliverer, 'process' | 'agents'>,
    private readonly health: Pick<Health, 'checks'>,
    private readonly stopping: AbortSignal,
  ) {}

  /** Does nothing where no heartbeat is configured. */
  start(): void {
    const { config, log } = this.deliverer.process;
    if (config.heartbeat === undefined) return;
    const { url, every: everyMs } = config.heartbeat;
    const onError = (error: unknown) => log.warn({ error: messageOf(error) }, 'heartbeat.failed');
    this.periodic = startPeriodic(() => this.send(url), { everyMs, onError });
  }

  async stop(): Promise<void> {
    await this.periodic?.stop();
  }

  private async send(url: string): Promise<void> {
    const { log, metrics } = this.deliverer.process;
    if (!(await this.isReady())) return metrics.heartbeat('not_ready');
    const found = await this.tryToSend(url);
    metrics.heartbeat(found === null ? 'sent' : 'failed');
    if (found !== null && this.failure === null) log.warn({ error: found }, 'heartbeat.failed');
    if (found === null && this.failure !== null) log.info({}, 'heartbeat.recovered');
    this.failure = found;
  }

  private async isReady(): Promise<boolean> {
    if (this.stopping.aborted) return false;
    return (await this.health.checks()).every(({ status }) => status !== 'failed');
  }

  /** @returns what went wrong, without the address, which may be a credential; null for nothing */
  private async tryToSend(url: string): Promise<string | null> {
    try {
      const status = await this.deliverer.agents.configured.get(url, TIMEOUT_MS);
      return status >= 200 && status <= 299 ? null : `answered ${status}`;
    } catch (error) {
      return messageOf(error).replaceAll(url, 'the address');
    }
  }
}
