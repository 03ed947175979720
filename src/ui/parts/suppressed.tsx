import { SUPPRESSED, suppressedText } from '../../core/alert/suppression.ts';
import type { Alert } from '../api/types.ts';
import { alertPath, href } from '../app/router.ts';
import { Status } from './status.tsx';
import { Clock } from './time.tsx';

type Suppressor = Alert['suppressed_by'][number];

/** The state of an alert in a row; of one whose notifications are suppressed, by what kind of thing. */
export function AlertState({ alert }: { alert: Alert }) {
  const [suppressor] = alert.suppressed_by;
  if (suppressor === undefined || alert.state === 'acknowledged') {
    return <Status state={alert.state} />;
  }
  return (
    <span title={`${alert.state}, and ${suppressedText(suppressor)}`}>
      <Status state="paused" text={SUPPRESSED[suppressor.kind]} />
    </span>
  );
}

/** Says what keeps notifications of an alert back, in a row. */
export function SuppressedTags({ suppressors }: { suppressors: readonly Suppressor[] }) {
  return (
    <>
      {suppressors.map((one) => (
        <span key={`${one.kind} ${one.id}`} class="tag warn" title={one.id ?? undefined}>
          <Text suppressor={one} />
        </span>
      ))}
    </>
  );
}

/** Says why an alert is not notified of, with a link to what keeps it back. */
export function SuppressedNotices({ suppressors }: { suppressors: readonly Suppressor[] }) {
  return (
    <>
      {suppressors.map((one) => (
        <p key={`${one.kind} ${one.id}`} class="notice">
          Notifications are <Text suppressor={one} />.{' '}
          {one.kind === 'inhibit' && one.id !== null && (
            <a href={href(alertPath(one.id))}>Show that alert</a>
          )}
          {one.kind === 'silence' && <a href={href('/alerts')}>Show silences</a>}
        </p>
      ))}
    </>
  );
}

function Text({ suppressor }: { suppressor: Suppressor }) {
  const { until } = suppressor;
  return (
    <>
      {suppressedText(suppressor)}
      {until !== null && (
        <>
          {' '}
          until <Clock at={until} />
        </>
      )}
    </>
  );
}
