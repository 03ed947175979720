import type { Alerting } from '../alert/alerting.ts';
import type { SilencePreview } from '../alert/silences.ts';
import {
  silenceState,
  type Matchers,
  type Silence,
  type SilenceRefusal,
  type SilenceState,
} from '../core/alert/silence.ts';
import { endOf, type Until } from '../core/time.ts';

export interface SilenceView extends Silence {
  state: SilenceState;
}

/** Times are milliseconds since the epoch. */
interface SilenceInput {
  matchers: Matchers;
  until: Until;
  startsAt?: number;
  by: string;
  comment: string;
  key?: string;
  /** The name of its token; absent for none. */
  token?: string;
  /** Those that its token is limited to; absent for all. Each such set has keys of its own. */
  sources?: readonly string[] | undefined;
}

/** How far ahead a silence may end, ms. */
const LONGEST_MS = 365 * 86_400_000;

/** Shows, adds and ends silences. */
export class SilenceService {
  constructor(private readonly alerting: Alerting) {}

  /**
   * @returns `past` where it would end at once, `far` where it would end too late, `full` where there are too
   *   many, `share` where there are too many of its token
   */
  async add({
    until,
    startsAt: given,
    key,
    ...input
  }: SilenceInput): Promise<
    { silence: SilenceView; isNew: boolean } | 'past' | 'far' | SilenceRefusal
  > {
    const { process, silences } = this.alerting;
    const at = process.now();
    const startsAt = given ?? at;
    const end = endOf(until, at);
    if (end <= Math.max(at, startsAt)) return 'past';
    if (end - at > LONGEST_MS) return 'far';
    const added = await silences.add({ ...input, startsAt, until: end, key: key ?? null });
    if (typeof added === 'string') return added;
    return { silence: this.viewOf(added.silence), isNew: added.isNew };
  }

  async list(): Promise<SilenceView[]> {
    return (await this.alerting.silences.list()).map((one) => this.viewOf(one));
  }

  /** @returns false for an unknown silence */
  expire(id: string): Promise<boolean> {
    return this.alerting.silences.expire(id);
  }

  preview(matchers: Matchers): Promise<SilencePreview> {
    return this.alerting.silences.preview(matchers);
  }

  private viewOf(silence: Silence): SilenceView {
    return { ...silence, state: silenceState(silence, this.alerting.process.now()) };
  }
}
