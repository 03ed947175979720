import type { Alert } from '../core/alert/alert.ts';
import type { Processes } from '../daemon/processes.ts';
import { faultLog } from '../fault-log.ts';
import type { Process } from '../process.ts';
import type { Poller } from '../source/poller.ts';
import { AlertEngine } from './engine.ts';
import { JudgeLoop } from './judge-loop.ts';
import { Rehearsals } from './rehearse.ts';
import type { AlertRules } from './rules.ts';
import { Silences } from './silences.ts';
import { readSuppressors, type SuppressorsById } from './suppressions.ts';
import { UsualDurations } from './usual-durations.ts';

/**
 * Alerts: what rules make of events, judged by one process at a time. The parts reach one another through it,
 * and do nothing before it is started:
 * - `rules` are those in force; they say what of an event is to be judged, which is written with the event;
 * - `loop` wakes the engine: soon after such an entry, and when a group is due;
 * - `engine` judges what is due, and takes what users do with an alert;
 * - `durations` say how long runs usually take, by which deadlines go;
 * - `silences` are what users make of them, `rehearsals` what rules would have sent.
 */
export class Alerting {
  /** The token by which this process claims the work. */
  readonly token: string;
  readonly rules: AlertRules;
  readonly durations: UsualDurations;
  readonly engine: AlertEngine;
  readonly loop: JudgeLoop;
  readonly silences: Silences;
  readonly rehearsals: Rehearsals;
  readonly onError: (error: unknown) => void;

  constructor(
    readonly process: Process,
    /** Of its sources: which may miss events, and to have runs read soon, as deadlines need it. */
    readonly poller: Pick<Poller, 'inDoubt' | 'readSoon'>,
    private readonly processes: Pick<Processes, 'configurations'>,
  ) {
    this.token = process.newToken();
    this.onError = faultLog(process.log, 'alerts');
    this.rules = process.alertRules;
    this.durations = new UsualDurations(process);
    this.engine = new AlertEngine(this);
    this.loop = new JudgeLoop(this);
    this.silences = new Silences(this);
    this.rehearsals = new Rehearsals(this);
  }

  /** Whether another live process has another configuration. */
  async isMixed(): Promise<boolean> {
    const all = await this.processes.configurations();
    return new Set(all.map(({ sections }) => JSON.stringify(sections))).size > 1;
  }

  /**
   * What keeps notifications of alerts back now, by the alert's id.
   * @param sources those that the reader is limited to
   */
  suppressorsOf(shown: readonly Alert[], sources?: readonly string[]): Promise<SuppressorsById> {
    return readSuppressors(this, shown, sources);
  }

  /** A process that judged has died. */
  async takeOver(process: string): Promise<void> {
    await this.process.stores.alerts.lease.endOf(process);
  }

  /** The rules have changed. */
  restart(): void {
    void this.engine.apply().then(this.loop.wake, this.onError);
  }

  start(): void {
    this.rules.usual = this.durations.usual;
    this.rules.onEntries = this.loop.wakeSoon;
    this.loop.start();
    this.restart();
  }

  async stop({ force }: { force: boolean }): Promise<void> {
    this.rules.onEntries = () => undefined;
    this.engine.stop();
    const stopped = this.loop.stop();
    if (force) return;
    await stopped;
    await this.process.stores.alerts.lease.end(this.token);
  }
}
