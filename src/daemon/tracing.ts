import { randomBytes } from 'node:crypto';
import type { Attempt, Delivery } from '../core/delivery/delivery.ts';
import type { LinksOf } from '../core/run/links.ts';
import {
  attemptSpan,
  deliverySpan,
  pollSpan,
  spansOfChange,
  traceIdOf,
  traceparent,
} from '../telemetry/spans.ts';
import type { PollReport } from '../core/watch/poll-report.ts';
import type { Watch } from '../core/watch/watch.ts';
import type { SpanSink } from '../telemetry/tracing.ts';

/** An attempt in the trace of a run. */
interface AttemptTrace {
  /** What the receiver continues the trace by: the value of its `traceparent` header. */
  traceparent: string;
  end(attempt: Attempt): void;
}

/** The traces of runs: what happens to one run, in whichever process, has one trace. */
export class Tracing {
  /** @param spans takes the spans; without it nothing is traced, which costs nothing */
  constructor(
    private readonly spans: SpanSink | null,
    private readonly linksOf: LinksOf,
    private readonly now: () => number,
  ) {}

  /** Takes a written change of a watch, for the trace of its run. */
  trace({ before, after }: { before: Watch; after: Watch }): void {
    if (this.spans === null) return;
    const change = { before, after, links: this.linksOf(after) };
    this.spans.take(spansOfChange(change, this.now()));
  }

  polled(report: PollReport): void {
    const { before, watch: after } = report;
    this.spans?.take(pollSpan(after, report));
    this.trace({ before, after });
  }

  /** Begins to trace the attempt at a delivery; null where it is in no trace. */
  traceAttempt(delivery: Delivery): AttemptTrace | null {
    const { spans } = this;
    if (spans === null || !isOfRun(delivery)) return null;
    const spanId = randomBytes(8).toString('hex');
    const traceId = traceIdOf(delivery);
    return {
      traceparent: traceparent(traceId, spanId, spans.isSampled(traceId)),
      end: (attempt) => spans.take([attemptSpan(delivery, attempt, spanId)]),
    };
  }

  delivered({ delivery, body }: { delivery: Delivery; body: string | null }): void {
    if (this.spans === null || delivery.nextAttemptAt !== null || !isOfRun(delivery)) return;
    this.spans.take([deliverySpan(delivery, body, this.now())]);
  }

  async stop(withinMs: number): Promise<void> {
    await this.spans?.stop(withinMs);
  }
}

/** System events and alerts belong to no run, or to several. */
function isOfRun({ runId, alertId }: Delivery): boolean {
  return runId !== '' && alertId === undefined;
}
