import type { FastifyReply, FastifyRequest } from 'fastify';
import { isoTime } from '../core/event/event.ts';
import type { RunwatchError } from '../core/errors.ts';
import type { WatchKey } from '../core/watch/watch.ts';
import type { Daemon } from '../daemon.ts';
import { faultLog } from '../fault-log.ts';
import { stopRun, type StopResult } from '../watches/stop.ts';
import { auditOfRun } from './audit.ts';
import { mayRead } from './auth.ts';
import { problem, refusal } from './problem.ts';
import type { Requests, Slice } from './routing.ts';
import type { Routes } from './schemas/routes.ts';
import { notWatched, watchNamed, type WatchService } from './watches.ts';

type Own = Routes['stops'];
type Asked = Requests<Own>;

/** Seconds after which a stop without a permit is worth trying again. */
const RETRY_AFTER_S = 1;

const NOT_KNOWN = 'it is not known whether the run is stopping, and runwatch does not ask again';

/** What a repeat is answered of a request that was sent, as far as is known, and has no answer. */
const UNANSWERED = problem(
  'stop_unknown',
  'the first request with this key has no answer so far: it is not known whether the run is stopping',
);

/** Stops runs: the one thing that runwatch does to them, and only where a user asks for it. */
export class StopService implements Slice<Own> {
  constructor(
    private readonly daemon: Daemon,
    private readonly watches: Pick<WatchService, 'get'>,
  ) {}

  async stop(request: FastifyRequest & Asked['stop'], reply: FastifyReply) {
    const watch = await this.watches.get(watchNamed(request));
    if (watch === null) throw notWatched(request);
    const source = this.daemon.poller.sourceOf(watch.source);
    const repeats = request.firstRequest;
    const { audit } = this.daemon.stores;
    const asked = auditOfRun(request, this.daemon.now(), {
      action: 'run.stop',
      watch,
      // Until there is an answer, which a process that dies never learns.
      details: { outcome: 'unknown' },
    });
    const result = await stopRun({
      source,
      watch,
      beforeSending: async () => {
        await audit.append(asked);
        await repeats?.decide(UNANSWERED);
      },
    });
    if (result.kind === 'unsent') repeats?.undecide();
    const answered = { ...asked, details: { outcome: result.kind } };
    await audit.replace(asked, answered).catch(faultLog(this.daemon.log, 'audit'));
    this.log(request, watch, result);
    if (result.kind === 'asked') {
      const status = mayRead(request.token) ? result.status : null;
      return { status, polled: watch.state === 'active' };
    }
    throw this.refused(result, watch, reply);
  }

  private refused(
    result: Exclude<StopResult, { kind: 'asked' }>,
    { runId, source }: WatchKey,
    reply: FastifyReply,
  ): RunwatchError {
    const label = this.daemon.labelOf(source);
    switch (result.kind) {
      case 'ended':
        return refusal('run_ended', `the run ${runId} has ended: ${result.message}`);
      case 'not_offered':
        return refusal(
          'cannot_stop',
          `the source ${source} has nothing that stops a run, or is configured no more`,
        );
      case 'refused': {
        const doubt =
          result.status < 500 ? '' : '; the next poll says whether it is stopping all the same';
        return refusal(
          'source_refused',
          `${label} does not stop the run: ${result.message}${doubt}`,
        );
      }
      case 'unanswered':
        return refusal(
          'stop_unknown',
          `${label} gave no answer that says it (${result.message}): ${NOT_KNOWN}`,
        );
      case 'unsent':
        return refusal('source_unreachable', `${label} was not asked: ${result.message}`);
      case 'limited':
        reply.header('retry-after', RETRY_AFTER_S);
        return refusal(
          'too_many_requests',
          `${label} was not asked: the rate limit of the source ${source} is used up; try again`,
        );
      case 'paused': {
        const { probeAt, message } = result.closed;
        const ms = Math.max(0, probeAt - this.daemon.now());
        reply.header('retry-after', Math.max(1, Math.ceil(ms / 1_000)));
        return refusal(
          'source_paused',
          `${label} was not asked: the source ${source} is paused until ${isoTime(probeAt)} (${message})`,
        );
      }
    }
  }

  /** Without the words of the source, which may be about the run's data. */
  private log(
    { token }: Asked['stop'],
    { runId, source }: WatchKey,
    { kind: outcome, ...result }: StopResult,
  ): void {
    const status = 'says' in result ? { status: result.status } : {};
    const fields = { source, run_id: runId, token: token?.name ?? null, outcome, ...status };
    this.daemon.log.info(fields, 'run.stop');
  }
}
