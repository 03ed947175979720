import { existsSync } from 'node:fs';
import { messageOf, RunwatchError } from '../core/errors.ts';
import { isoTime } from '../core/event/event.ts';
import type { HealthCheck } from '../core/health-check.ts';
import type { EmbeddedRedis } from '../redis/embedded/server.ts';
import type { Process } from '../process.ts';
import { checkDataDirectory, needDataDirectory } from './data-directory.ts';
import { faultLog } from '../fault-log.ts';
import { startPeriodic, type Periodic } from '../periodic.ts';
import { keepSecret, keptSecrets, type KeptSecret } from '../deliver/secrets/own-secrets.ts';
import type { StoreGuard } from './store-guard.ts';

/** How often the data directory is checked, ms. */
const EVERY_MS = 3_000;

/** How long readiness reports that it was gone, ms. */
const NAMED_MS = 3_600_000;

interface DirectoryLoss {
  what: string;
  since: number;
  /** Why it could not be made good; null while nothing has failed. */
  failure: string | null;
}

/**
 * Checks that the data directory is still there, with what was loaded from it. Makes it again from what
 * this process and its Redis hold in memory, before a restart would lose that.
 */
export class DataDirectoryGuard {
  private lost: DirectoryLoss | null = null;
  private restored: { what: string; at: number } | null = null;
  private periodic: Periodic | null = null;

  /**
   * @param server null where Redis is configured: the directory holds the secrets alone then
   * @param kept the secrets that were loaded from it
   */
  constructor(
    private readonly process: Process,
    private readonly storeGuard: Pick<StoreGuard, 'keepAgain'>,
    private readonly server: Pick<EmbeddedRedis, 'loss' | 'rescue'> | null,
    private readonly kept: readonly KeptSecret[] = keptSecrets(process.config.data_dir),
  ) {}

  start(): void {
    const onError = faultLog(this.process.log, 'data_directory');
    this.periodic = startPeriodic(() => this.look(), { everyMs: EVERY_MS, onError });
  }

  /** Puts the keys back, where they are gone; the server writes what it holds when it is closed. */
  async stop(): Promise<void> {
    await this.periodic?.stop();
    if ((await this.findLoss()) !== null) await this.keepFiles();
  }

  /** The check of readiness; null when there is nothing to report. */
  check(): HealthCheck | null {
    const { lost, restored } = this;
    const name = 'data directory';
    if (lost !== null) {
      const status = this.server === null ? 'degraded' : 'failed';
      return { name, status, detail: this.lossText(lost) };
    }
    if (restored === null || this.process.now() - restored.at > NAMED_MS) return null;
    const detail = `made again from memory at ${isoTime(restored.at)} (${restored.what}): see what removed it`;
    return { name, status: 'degraded', detail };
  }

  /** Throws RunwatchError `data_directory_lost` while nothing that is registered would survive a restart. */
  refuseIfLost(): void {
    const { lost } = this;
    if (lost === null || lost.failure === null || this.server === null) return;
    const message = `nothing can be registered, since a restart would lose it: ${lost.what}, and cannot be made again (${lost.failure})`;
    throw new RunwatchError(message, { code: 'data_directory_lost', retriable: true });
  }

  private lossText({ what, since, failure }: DirectoryLoss): string {
    const found = `${what}, noticed at ${isoTime(since)}`;
    if (failure === null) return `${found}; what memory holds is being written anew`;
    const consequence =
      this.server === null
        ? 'a restart would lose secrets'
        : 'a restart would lose all, and registrations are refused';
    return `${found}; ${consequence}, since it cannot be made again: ${failure}`;
  }

  private async look(): Promise<void> {
    const what = await this.findLoss().catch(messageOf);
    if (what === null) return this.noteEnd();
    this.note(what);
    try {
      await this.keepFiles();
      await this.server?.rescue();
      this.noteFailure(null);
    } catch (error) {
      this.noteFailure(messageOf(error));
    }
  }

  private async findLoss(): Promise<string | null> {
    const { server, kept } = this;
    const gone = kept.find(({ path }) => !existsSync(path));
    return (await server?.loss()) ?? (gone === undefined ? null : `${gone.path} is gone`);
  }

  private async keepFiles(): Promise<void> {
    const { data_dir: path } = this.process.config;
    await checkDataDirectory(path);
    await needDataDirectory(path);
    for (const file of this.kept) await keepSecret(file);
    await this.storeGuard.keepAgain();
  }

  private note(what: string): void {
    if (this.lost !== null) return void (this.lost.what = what);
    this.lost = { what, since: this.process.now(), failure: null };
    this.process.log.error({ what }, 'data_directory.lost');
  }

  private noteFailure(failure: string | null): void {
    const { lost } = this;
    if (lost === null) return;
    if (failure !== null && failure !== lost.failure) {
      this.process.log.error({ what: lost.what, error: failure }, 'data_directory.not_restored');
    }
    lost.failure = failure;
  }

  private noteEnd(): void {
    const { lost } = this;
    if (lost === null) return;
    this.lost = null;
    this.restored = { what: lost.what, at: this.process.now() };
    this.process.log.warn({ what: lost.what }, 'data_directory.restored');
  }
}
