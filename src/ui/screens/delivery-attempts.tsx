import type { Attempt, DeliveryDetail } from '../api/types.ts';
import { address, setQuery } from '../app/router.ts';
import { Section } from '../parts/basics.tsx';
import { lengthText } from '../parts/format.ts';
import { Status } from '../parts/status.tsx';
import { Clock } from '../parts/time.tsx';

/** Every attempt of a delivery: when, with which result, and where its time went. */
export function Attempts({ delivery }: { delivery: DeliveryDetail }) {
  const { attempts, created_at: created } = delivery;
  const most = Math.max(1, ...attempts.map(({ duration_ms: took }) => took));
  const hasPhases = attempts.some(({ phases }) => phases !== null);
  return (
    <Section title="Attempts" aside={hasPhases && <Legend />}>
      {attempts.length === 0 && <p class="faint">None yet.</p>}
      <ol class="attempts">
        {attempts.map((attempt, at) => (
          <AttemptRow
            key={attempt.at}
            attempt={attempt}
            number={at + 1}
            waitedMs={Date.parse(attempt.at) - Date.parse(attempts[at - 1]?.at ?? created)}
            most={most}
          />
        ))}
      </ol>
    </Section>
  );
}

/** The parts of a request in turn, and how the bars show them. */
const PHASES = [
  { key: 'connect_ms', name: 'connecting', className: 'phase-connect' },
  { key: 'wait_ms', name: 'waiting', className: 'phase-wait' },
  { key: 'receive_ms', name: 'receiving', className: 'phase-receive' },
] as const;

function Legend() {
  return (
    <ul class="legend">
      {PHASES.map(({ name, className }) => (
        <li key={name}>
          <span class={`phase-mark ${className}`} />
          {name}
        </li>
      ))}
    </ul>
  );
}

interface AttemptProps {
  attempt: Attempt;
  number: number;
  /** From the attempt before, or from the creation of the delivery. */
  waitedMs: number;
  /** How long the longest attempt took, ms. */
  most: number;
}

function AttemptRow({ attempt, number, waitedMs, most }: AttemptProps) {
  const { at, status, error, duration_ms: took } = attempt;
  const isChosen = address.value.query.get('attempt') === String(number);
  return (
    <li class={isChosen ? 'chosen' : ''}>
      <button
        type="button"
        class="quiet attempt-head"
        aria-expanded={isChosen}
        onClick={() => setQuery({ attempt: isChosen ? null : String(number) })}
      >
        <span class="num faint">{number}</span>
        <Status
          state={error === null ? 'delivered' : 'failed'}
          text={error === null ? `answered ${status ?? 'ok'}` : `${status ?? error.code}`}
        />
        <Clock at={at} withMs />
        <span class="faint num mid">
          {lengthText(waitedMs)} after {number === 1 ? 'the event' : `attempt ${number - 1}`}
        </span>
        <PhaseBar attempt={attempt} most={most} />
        <span class="num right">{lengthText(took)}</span>
      </button>
      {error !== null && <p class="attempt-error">{error.message}</p>}
      {isChosen && <AttemptDetail attempt={attempt} />}
    </li>
  );
}

/** Where the time of an attempt went, beside the longest one; {@link phaseText} says it in words. */
function PhaseBar({ attempt, most }: { attempt: Attempt; most: number }) {
  const { phases, error, duration_ms: took } = attempt;
  const parts = phases === null ? [] : PHASES.filter(({ key }) => (phases[key] ?? 0) > 0);
  const plain = error === null ? 'tone-ok' : 'tone-bad';
  return (
    <span class="attempt-bar" title={phaseText(attempt) ?? undefined} aria-hidden="true">
      <span class="attempt-took" style={{ width: `${Math.max(1, (took / most) * 100)}%` }}>
        {parts.length === 0 && <span class={plain} style={{ flexGrow: 1 }} />}
        {parts.map(({ key, className }) => (
          <span key={key} class={className} style={{ flexGrow: phases?.[key] ?? 0 }} />
        ))}
      </span>
    </span>
  );
}

/** The parts of a request as a sentence; null where none was made. */
function phaseText({ phases }: Attempt): string | null {
  if (phases === null) return null;
  const { connect_ms: connect, wait_ms: wait, receive_ms: receive } = phases;
  const connected =
    connect === null
      ? 'On a connection that was kept alive'
      : `${wait === null ? 'No connection after' : 'Connected in'} ${lengthText(connect)}`;
  if (wait === null) return `${connected}.`;
  if (receive === null) return `${connected}; no answer after another ${lengthText(wait)}.`;
  return `${connected}; the answer began after ${lengthText(wait)} and took ${lengthText(receive)}.`;
}

function AttemptDetail({ attempt }: { attempt: Attempt }) {
  const { request_headers: headers, response } = attempt;
  const phases = phaseText(attempt);
  return (
    <div class="attempt-detail">
      {phases !== null && <p>{phases}</p>}
      {headers !== null && (
        <>
          <h3>Request headers</h3>
          <pre tabIndex={0} aria-label="Request headers">
            {Object.entries(headers).map(([name, value]) => (
              <div key={name}>
                <span class="faint">{name}:</span> {value}
              </div>
            ))}
          </pre>
          <p class="faint">
            Not recorded, but made again from the event, the time of the attempt and today’s
            configuration. Secrets are masked.
          </p>
        </>
      )}
      <h3>Response</h3>
      {response === null || response === '' ? (
        <p class="faint">
          {response === ''
            ? 'The answer had no body.'
            : 'Nothing was answered, or nothing of it is kept.'}
        </p>
      ) : (
        <pre tabIndex={0} aria-label="Response">
          {response}
        </pre>
      )}
    </div>
  );
}
